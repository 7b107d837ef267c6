/** @file The interface of a policy whose weights are in a program on this machine or on a server. */

import { readJsonRecord } from '../util/json.js';
import { check, object, text } from '../util/schema.js';
import type { Policy } from './policy.js';
import type { UpdateBatch, UpdateResult } from './update.js';

/** The result of an update; a server does not report the norm of the gradient. */
export type PlacedUpdate = Omit<UpdateResult, 'gradientNorm'> & { readonly gradientNorm?: number };

export interface PlacedPolicy extends Omit<Policy, 'update'> {
  update(batch: UpdateBatch): Promise<PlacedUpdate>;
  /** Present if the weights are on a server. `read` then returns them as they were at the last save. */
  readonly server?: ServerState;
}

/** Where a server keeps a state of training: weights and optimiser. */
export interface SavedOnServer {
  readonly url: string;
  readonly baseModel: string;
  readonly path: string;
}

/** The state of training on a server. */
export interface ServerState {
  /** Saves it there and fetches what `read` returns. Returns what a checkpoint records. */
  save(): Promise<SavedOnServer>;
  /** Restores such a state before the next use. @throws UserError when it belongs to another model. */
  restore(saved: SavedOnServer): void;
}

/** A file of a saved policy that is on a server. */
export const serverFile = 'server.json';
const format = 'tinyzero-server-1';
const shape = object({ format: text, url: text, baseModel: text, path: text });

export function serverJson(saved: SavedOnServer): string {
  return `${JSON.stringify({ format, ...saved }, null, 2)}\n`;
}

/** @throws UserError when there is no such file, or it is damaged. */
export function readServerFile(path: string): SavedOnServer {
  const { url, baseModel, path: saved } = check(shape, readJsonRecord(path), { path, what: 'a place on a server' });
  return { url, baseModel, path: saved };
}
