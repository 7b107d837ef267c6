/**
 * @file Chooses the engine. `--engine auto` uses native TensorFlow, installing it first if needed, and falls back to
 * WebAssembly on any failure. Prints one line: the engine and the reason. Loads no tensor library.
 */
import { UserError } from '../../util/errors.js';
import type { Reporter } from '../../util/reporter.js';
import type { EngineName, EngineSetting } from '../choices.js';
import { type InstallResult, installEngine } from './install.js';
import { findInstalledEngine, type InstalledEngine, inspectEngine } from './installed.js';

export interface EngineChoice {
  readonly name: EngineName;
  /** A few words. */
  readonly reason: string;
}

export interface ChooseOptions {
  readonly engine: EngineSetting;
  /** False: never install anything (`--no-install`). */
  readonly install: boolean;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  /** Installs the engine; tests replace it. */
  readonly installer?: (reporter: Reporter, signal: AbortSignal) => Promise<InstallResult>;
}

/**
 * Resolves `--engine` to an engine, installing the native one first if allowed.
 *
 * @throws UserError if `tensorflow` was requested by name and is not installed.
 */
export async function chooseEngine(options: ChooseOptions): Promise<EngineChoice> {
  const choice = await decide(options);
  options.reporter.line(`Engine: ${choice.name} (${choice.reason}).`);
  return choice;
}

async function decide(options: ChooseOptions): Promise<EngineChoice> {
  if (options.engine === 'wasm') return { name: 'wasm', reason: 'as requested' };
  const { engine, broken } = inspectEngine();
  if (options.engine === 'tensorflow') {
    if (engine !== undefined) return native(engine, 'as requested');
    throw new UserError({
      problem: broken === undefined ? 'Native TensorFlow is not installed.' : `The native engine is broken: ${broken}.`,
      fix: 'Run `tinyzero engine install`, or use `--engine auto`.',
    });
  }
  if (engine !== undefined) return native(engine, 'it is installed');
  if (!options.install) return { name: 'wasm', reason: 'native TensorFlow is not installed, and --no-install is set' };
  return await installFirst(options);
}

async function installFirst({ installer, reporter, signal }: ChooseOptions): Promise<EngineChoice> {
  const offer = 'Native TensorFlow is not installed; it is many times faster than WebAssembly.';
  if (reporter.ask === undefined) {
    reporter.line(`${offer} Installing it (274 MB download, once; --no-install skips it).`);
  } else if (!(await reporter.ask(`${offer} Install it now (274 MB download, 860 MB on disk)?`, signal))) {
    return { name: 'wasm', reason: 'native TensorFlow was declined; `tinyzero engine install` installs it' };
  }
  const install = installer ?? ((report, stop) => installEngine({}, report, stop));
  try {
    const { attempts } = await install(reporter, signal);
    const engine = findInstalledEngine();
    if (engine !== undefined) return native(engine, 'just installed');
    return { name: 'wasm', reason: `native TensorFlow is unavailable: ${attempts[0]?.sentence.replace(/\.$/, '')}` };
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
