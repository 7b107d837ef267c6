/**
 * @file Another program that runs an exported model. It is loaded only for a check, from the user's project or from tinyzero's,
 * and is not a dependency of tinyzero.
 */
import { pathToFileURL } from 'node:url';
import { findPackage, packageVersion } from '../../engine/packages.js';
import { UserError } from '../../util/errors.js';

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
  return { module: await import(pathToFileURL(entry).href), program: `${name} ${packageVersion(entry, name)}` };
}

/** The file that {@link loadPeer} would load. @throws UserError that says how to install it. */
export function requirePeer(name: string): string {
  const entry = findPackage(name);
  if (entry !== undefined) return entry;
  throw new UserError({
    problem: `The check runs the model in ${name}, which is not installed.`,
    fix: `Add it with \`npm install ${name}\`, or leave --check out.`,
  });
}
