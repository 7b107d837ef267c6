/**
 * @file Another program that runs an exported model. It is loaded only for a check, from the user's project or from tinyzero's,
 * and is not a dependency of tinyzero.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { systemErrorCode, UserError } from '../../util/errors.js';
import { readJsonRecord } from '../../util/json.js';

/** A program's greedy answer to a prompt. */
interface PeerAnswer {
  /** Ids of the prompt, by the program's own tokenizer. */
  readonly promptIds: readonly number[];
  /** Includes the end token, if there is one. */
  readonly ids: readonly number[];
  /** Per token; absent if the program gives none. */
  readonly logProbs?: readonly number[];
}

interface PeerQuestion {
  readonly text: string;
  /** False for a chat: its template writes them. */
  readonly addSpecialTokens: boolean;
  readonly promptIds: readonly number[];
  readonly maxNewTokens: number;
  /** Any of these ends the answer. */
  readonly endIds: readonly number[];
}

/** An exported model, opened in such a program. */
export interface Peer {
  /** `node-llama-cpp 3.22.1` */
  readonly program: string;
  answer(question: PeerQuestion): Promise<PeerAnswer>;
  close(): Promise<void>;
}

/**
 * The module of an optional package, from the current folder's packages or tinyzero's own.
 *
 * @throws UserError that says how to install it.
 */
export async function loadPeer<Module>(name: string): Promise<{ module: Module; program: string }> {
  const entry = requirePeer(name);
  return { module: await import(pathToFileURL(entry).href), program: `${name} ${versionOf(entry, name)}` };
}

/** The file that {@link loadPeer} would load. @throws UserError that says how to install it. */
export function requirePeer(name: string): string {
  for (const from of [join(process.cwd(), 'package.json'), import.meta.url]) {
    try {
      return createRequire(from).resolve(name);
    } catch (error) {
      if (systemErrorCode(error) !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  throw new UserError({
    problem: `The check runs the model in ${name}, which is not installed.`,
    fix: `Add it with \`npm install ${name}\`, or leave --check out.`,
  });
}

function versionOf(entry: string, name: string): string {
  let folder = dirname(entry);
  while (!folder.endsWith(join('node_modules', name)) && dirname(folder) !== folder) folder = dirname(folder);
  return String(readJsonRecord(join(folder, 'package.json')).version);
}
