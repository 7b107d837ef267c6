/**
 * @file Chooses the engine. `--engine auto` uses native TensorFlow, installing it first if needed. On any failure it uses WebGPU
 * if a graphics card is there, otherwise WebAssembly. Prints one line: the engine and the reason. Loads no tensor library.
 */
import { UserError } from '../../util/errors.js';
import type { Reporter } from '../../util/reporter.js';
import type { EngineName, EngineSetting } from '../choices.js';
import { probeWebGpu, type WebGpuProbe } from '../webgpu/dawn.js';
import { type InstallResult, installEngine } from './install.js';
import { findInstalledEngine, type InstalledEngine, inspectEngine } from './installed.js';

export interface EngineChoice {
  readonly name: EngineName;
  /** Why this engine, in a few words. */
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
  /** Looks for a graphics card; tests replace it. */
  readonly probe?: (signal: AbortSignal) => Promise<WebGpuProbe>;
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
  if (options.engine === 'wasm' || options.engine === 'webgpu') return { name: options.engine, reason: 'as requested' };
  const { engine, broken } = inspectEngine();
  if (options.engine === 'tensorflow') {
    if (engine !== undefined) return native(engine, 'as requested');
    throw new UserError({
      problem: broken === undefined ? 'Native TensorFlow is not installed.' : `The native engine is broken: ${broken}.`,
      fix: 'Run `tinyzero engine install`, or use `--engine auto`.',
    });
  }
  if (engine !== undefined) return native(engine, 'it is installed');
  if (!options.install)
    return await withoutNative(options, 'native TensorFlow is not installed, and --no-install is set');
  const missing = await installFirst(options);
  return typeof missing === 'string' ? await withoutNative(options, missing) : missing;
}

/** WebGPU if there is a real card, otherwise WebAssembly, with the reason why native TensorFlow does not run. */
async function withoutNative({ probe = probeWebGpu, signal }: ChooseOptions, reason: string): Promise<EngineChoice> {
  const { adapter } = await probe(signal);
  if (adapter === undefined || adapter.software) return { name: 'wasm', reason };
  return { name: 'webgpu', reason: `${adapter.name}; ${reason}` };
}

/** The engine that was installed, or why none was. */
async function installFirst({ installer, reporter, signal }: ChooseOptions): Promise<EngineChoice | string> {
  const offer = 'Native TensorFlow is not installed; it is many times faster than WebAssembly.';
  if (reporter.ask === undefined) {
    reporter.line(`${offer} Installing it (274 MB download, once; --no-install skips it).`);
  } else if (!(await reporter.ask(`${offer} Install it now (274 MB download, 860 MB on disk)?`, signal))) {
    return 'native TensorFlow was declined; `tinyzero engine install` installs it';
  }
  const install = installer ?? ((report, stop) => installEngine({}, report, stop));
  try {
    const { attempts } = await install(reporter, signal);
    const engine = findInstalledEngine();
    if (engine !== undefined) return native(engine, 'just installed');
    return `native TensorFlow is unavailable: ${attempts[0]?.sentence.replace(/\.$/, '')}`;
  } catch (error) {
    signal.throwIfAborted();
    const why = error instanceof Error ? error.message.replace(/\.$/, '') : String(error);
    return `installing native TensorFlow failed: ${why}`;
  }
}

function native({ tensorflow, variant }: InstalledEngine, why: string): EngineChoice {
  return {
    name: 'tensorflow',
    reason: `TensorFlow ${tensorflow} for ${variant === 'gpu' ? 'CUDA' : 'the CPU'}; ${why}`,
  };
}
