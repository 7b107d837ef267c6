/**
 * @file Builds the addon: two C++ files of tfjs-node-gpu against TensorFlow's C API, one compiler call, no node-gyp,
 * Python or make. It uses Node-API 8 only, so one binary serves every Node version from 20 on.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { systemErrorCode } from '../../errors.js';
import { findProgram, run } from '../../util/process.js';
import { Unavailable } from './unavailable.js';

export interface Compiler {
  readonly command: string;
  readonly args: readonly string[];
}

/** `$CXX` when set (it may hold arguments), else the first of g++, c++ and clang++ that answers. */
export async function findCompiler(signal?: AbortSignal, env = process.env): Promise<Compiler | undefined> {
  const candidates = env.CXX ? [env.CXX.trim().split(/\s+/)] : [['g++'], ['c++'], ['clang++']];
  for (const [name = '', ...args] of candidates) {
    const command = findProgram(name, env);
    if (command === undefined) continue;
    const answer = await run(command, [...args, '--version'], { signal });
    if (answer.code === 0) return { command, args };
  }
  return undefined;
}

export interface AddonBuild {
  readonly compiler: Compiler;
  /** Folder of tfjs_backend.cc and tfjs_binding.cc. */
  readonly sources: string;
  /** Folders with TensorFlow's and Node's headers. */
  readonly includes: readonly string[];
  /** Shared libraries to link with, which lie in `libraryFolder` when the addon is loaded. */
  readonly libraries: readonly string[];
  /** Where the addon finds them, relative to its own folder. */
  readonly libraryFolder: string;
  readonly output: string;
}

/** Compiles and links the addon; about 14 s. */
export async function buildAddon(build: AddonBuild, signal: AbortSignal): Promise<void> {
  mkdirSync(join(build.output, '..'), { recursive: true });
  const mac = process.platform === 'darwin';
  const args = [
    ...build.compiler.args,
    ...['-std=c++17', '-O2', '-fPIC', '-shared', ...(mac ? ['-undefined', 'dynamic_lookup'] : [])],
    ...['-DNAPI_VERSION=8', '-DNODE_GYP_MODULE_NAME=tfjs_binding', '-DBUILDING_NODE_EXTENSION'],
    ...['-I', join(build.sources, '..'), ...build.includes.flatMap((folder) => ['-isystem', folder])],
    ...['tfjs_backend.cc', 'tfjs_binding.cc'].map((name) => join(build.sources, name)),
    ...build.libraries,
    `-Wl,-rpath,${mac ? '@loader_path' : '$ORIGIN'}/${build.libraryFolder}`,
    ...['-o', build.output],
  ];
  const result = await run(build.compiler.command, args, { signal }).catch((error: unknown) => {
    if (signal.aborted) throw error;
    throw new Unavailable('no-compiler', `${build.compiler.command} cannot be run (${systemErrorCode(error)}).`);
  });
  if (result.code === 0) return;
  if (/No space left on device/.test(result.stderr)) {
    throw new Unavailable('no-space', 'The disk filled up while the addon was compiled.');
  }
  const why = result.stderr.split('\n').find((line) => /error|not found|cannot/i.test(line)) ?? `exit ${result.code}`;
  throw new Unavailable('build-failed', `${build.compiler.command} could not compile the addon: ${why.trim()}.`);
}
