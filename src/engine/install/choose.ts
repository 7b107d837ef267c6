/**
 * @file Decides which engine runs: `--engine auto` takes native TensorFlow where it is installed or can be, and says in
 * one line what runs and why. Never fatal: whatever goes wrong, WebAssembly runs. Loads no tensor library.
 */

import { UserError } from '../../util/errors.js';
import type { Reporter } from '../../util/reporter.js';
import type { EngineName, EngineSetting } from '../choices.js';
import { type InstallResult, installEngine } from './install.js';
import { findInstalledEngine, type InstalledEngine, inspectEngine } from './installed.js';

export interface EngineChoice {
  readonly name: EngineName;
  /** Why this one, in a few words. */
  readonly reason: string;
}

export interface ChooseOptions {
  readonly engine: EngineSetting;
  /** False: never install anything (`--no-install`). */
  readonly install: boolean;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  /** What installs; a parameter for tests. */
  readonly installer?: (reporter: Reporter, signal: AbortSignal) => Promise<InstallResult>;
}

/**
 * Resolves `--engine` to an engine, installing the native one first where that is wanted.
 *
 * @throws UserError if `tensorflow` was asked for by name and is not installed.
 */
export async function chooseEngine(options: ChooseOptions): Promise<EngineChoice> {
  const choice = await decide(options);
  options.reporter.line(`Engine: ${choice.name} (${choice.reason}).`);
  return choice;
}

async function decide(options: ChooseOptions): Promise<EngineChoice> {
  if (options.engine === 'wasm') return { name: 'wasm', reason: 'as asked' };
  const { engine, broken } = inspectEngine();
  if (options.engine === 'tensorflow') {
    if (engine !== undefined) return native(engine, 'as asked');
    throw new UserError({
      problem: broken === undefined ? 'Native TensorFlow is not installed.' : `The native engine is broken: ${broken}.`,
      fix: 'Run `tinyzero engine install`, or use `--engine auto`.',
    });
  }
  if (engine !== undefined) return native(engine, 'it is installed');
  if (!options.install) return { name: 'wasm', reason: 'native TensorFlow is not installed, and --no-install' };
  return await installFirst(options);
}

async function installFirst({ installer, reporter, signal }: ChooseOptions): Promise<EngineChoice> {
  const offer = 'Native TensorFlow is not installed; it is many times faster than WebAssembly.';
  if (reporter.ask === undefined) {
    reporter.line(`${offer} Installing it (274 MB download, once; --no-install to do without).`);
  } else if (!(await reporter.ask(`${offer} Install it now (274 MB download, 860 MB on disk)?`, signal))) {
    return { name: 'wasm', reason: 'native TensorFlow was declined; `tinyzero engine install` gets it' };
  }
  const install = installer ?? ((report, stop) => installEngine({}, report, stop));
  try {
    const { attempts } = await install(reporter, signal);
    const engine = findInstalledEngine();
    if (engine !== undefined) return native(engine, 'just installed');
    return { name: 'wasm', reason: `native TensorFlow cannot be had: ${attempts[0]?.sentence.replace(/\.$/, '')}` };
  } catch (error) {
    signal.throwIfAborted();
    const why = error instanceof Error ? error.message.replace(/\.$/, '') : String(error);
    return { name: 'wasm', reason: `installing native TensorFlow failed: ${why}` };
  }
}

function native({ tensorflow, variant }: InstalledEngine, why: string): EngineChoice {
  return {
    name: 'tensorflow',
    reason: `TensorFlow ${tensorflow} for ${variant === 'gpu' ? 'CUDA' : 'the CPU'}; ${why}`,
  };
}
