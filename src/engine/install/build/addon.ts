/**
 * @file Builds the two addons without node-gyp, Python or make. One compiler call builds the binding from two C++ files of
 * tfjs-node-gpu, against TensorFlow's C API. The binding uses only Node-API 8, so one binary serves every Node version from
 * 20 on. The kernels addon contains tinyzero's TensorFlow kernels from native/, which come with the package. Their
 * arithmetic is compiled once per instruction set and chosen on loading, since several machines may share the cache.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemErrorCode } from '../../../util/errors.js';
import { findProgram, run } from '../../../util/process.js';
import { Unavailable } from '../fetch/unavailable.js';
import { engineFormat } from '../installed.js';

const mac = process.platform === 'darwin';

/** File name of the stderr addon, in the same folder. */
const stderrAddonName = 'stderr.node';

/**
 * A tiny addon that temporarily redirects standard error to nowhere. TensorFlow 2.21 prints a notice about rounding from a
 * static initialiser, before it reads its log level, and JavaScript has no dup2.
 */
const stderrSource = `#include <fcntl.h>
#include <node_api.h>
#include <unistd.h>
static int saved = -1;
static napi_value mute(napi_env, napi_callback_info) {
  int nowhere = open("/dev/null", O_WRONLY);
  if (saved == -1 && nowhere != -1) {
    saved = fcntl(2, F_DUPFD_CLOEXEC, 3);
    if (saved != -1) dup2(nowhere, 2);
  }
  if (nowhere != -1) close(nowhere);
  return nullptr;
}
static napi_value unmute(napi_env, napi_callback_info) {
  if (saved != -1) {
    dup2(saved, 2);
    close(saved);
    saved = -1;
  }
  return nullptr;
}
static napi_value init(napi_env env, napi_value exports) {
  napi_property_descriptor functions[] = {
      {"mute", nullptr, mute, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"unmute", nullptr, unmute, nullptr, nullptr, nullptr, napi_default, nullptr}};
  napi_define_properties(env, exports, 2, functions);
  return exports;
}
NAPI_MODULE(stderr, init)
`;

export interface Compiler {
  readonly command: string;
  readonly args: readonly string[];
}

/** `$CXX` if set (it may contain arguments), otherwise the first of g++, c++ and clang++ that runs. */
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
  /** Folder of tfjs_backend.cc and tfjs_binding.cc, also used for intermediate files. */
  readonly sources: string;
  /** Folders with TensorFlow's and Node's headers. */
  readonly includes: readonly string[];
  /** Shared libraries to link with; when the addon is loaded, they are in `libraryFolder`. */
  readonly libraries: readonly string[];
  /** Where the addon finds them, relative to its own folder. */
  readonly libraryFolder: string;
  readonly output: string;
}

/** Compiles and links both addons; about 14 s. */
export async function buildAddon(build: AddonBuild, signal: AbortSignal): Promise<void> {
  mkdirSync(join(build.output, '..'), { recursive: true });
  const includes = build.includes.flatMap((folder) => ['-isystem', folder]);
  const shared = [...sourceFlags, ...linkFlags, '-O2'];
  const stderrFile = join(build.sources, 'stderr.cc');
  writeFileSync(stderrFile, stderrSource);
  await compile(
    build.compiler,
    [
      ...[...shared, ...nodeFlags('tinyzero_stderr'), ...includes, stderrFile],
      '-o',
      join(build.output, '..', stderrAddonName),
    ],
    signal,
  );
  await compile(
    build.compiler,
    [
      ...[...shared, ...nodeFlags('tfjs_binding'), '-I', join(build.sources, '..'), ...includes],
      ...['tfjs_backend.cc', 'tfjs_binding.cc'].map((name) => join(build.sources, name)),
      ...[...build.libraries, runPath(build.libraryFolder), '-o', build.output],
    ],
    signal,
  );
}

/** Flags of every addon. */
const sourceFlags: readonly string[] = ['-std=c++17', '-fPIC'];
const linkFlags: readonly string[] = ['-shared', ...(mac ? ['-undefined', 'dynamic_lookup'] : [])];

function nodeFlags(moduleName: string): string[] {
  return ['-DNAPI_VERSION=8', '-DBUILDING_NODE_EXTENSION', `-DNODE_GYP_MODULE_NAME=${moduleName}`];
}

/** Lets an addon find its libraries in `folder`, which is relative to its own. */
function runPath(folder: string): string {
  return `-Wl,-rpath,${mac ? '@loader_path' : '$ORIGIN'}/${folder}`;
}

async function compile(compiler: Compiler, args: readonly string[], signal: AbortSignal): Promise<void> {
  const result = await run(compiler.command, [...compiler.args, ...args], { signal }).catch((error: unknown) => {
    if (signal.aborted) throw error;
    throw new Unavailable('no-compiler', `${compiler.command} cannot be run (${systemErrorCode(error)}).`);
  });
  if (result.code === 0) return;
  if (/No space left on device/.test(result.stderr)) {
    throw new Unavailable('no-space', 'The disk filled up while the addon was compiled.');
  }
  const why = result.stderr.split('\n').find((line) => /error|not found|cannot/i.test(line)) ?? `exit ${result.code}`;
  throw new Unavailable('build-failed', `${compiler.command} could not compile the addon: ${why.trim()}.`);
}

/** Folder of the sources. */
export const nativeSources = fileURLToPath(new URL('../../../../../native/', import.meta.url));

const avx512 = ['-mavx512f', '-mavx512bw', '-mavx512cd', '-mavx512dq', '-mavx512vl', '-mavx2', '-mfma'];

/** Table of functions in kernels.h -> compiler flags. Other kinds of processors have only the baseline. */
const instructionSets: Readonly<Record<string, readonly string[]>> = {
  baselineMath: [],
  ...(process.arch === 'x64' && {
    avx2Math: ['-mavx2', '-mfma'],
    avx512Math: avx512,
    avx512Bf16Math: [...avx512, '-mavx512bf16'],
  }),
};

/** The `-fno` flags do not change results: they concern `errno` and floating-point traps, which are not used. */
const optimised = ['-O3', '-fno-math-errno', '-fno-trapping-math', '-Wno-psabi'];

/** Compiles and links the kernels addon, `build.output`, in a few seconds. Leaves objects in `build.sources`. */
export async function buildKernels(build: AddonBuild, signal: AbortSignal): Promise<void> {
  const common = [...sourceFlags, ...optimised];
  const objects: string[] = [];
  for (const [table, instructions] of Object.entries(instructionSets)) {
    const object = join(build.sources, `${table}.o`);
    const source = join(nativeSources, 'math.cc');
    const compileWith = (flags: readonly string[]) =>
      compile(build.compiler, [...common, ...flags, `-DMATH=${table}`, '-c', source, '-o', object], signal);
    await compileWith(instructions).catch(async (error: unknown) => {
      // GCC before 10 does not know -mavx512bf16. It builds a table without these instructions, which says so.
      if (!(error instanceof Unavailable && instructions.includes('-mavx512bf16'))) throw error;
      await compileWith(avx512);
    });
    objects.push(object);
  }
  const sources = readdirSync(nativeSources).filter((name) => name.endsWith('.cc') && name !== 'math.cc');
  await compile(
    build.compiler,
    [
      ...[
        ...common,
        ...linkFlags,
        ...nodeFlags('tinyzero_kernels'),
        `-DTINYZERO_FORMAT=${engineFormat}`,
        ...build.includes.flatMap((folder) => ['-isystem', folder]),
      ],
      ...sources.map((name) => join(nativeSources, name)),
      ...[...objects, ...build.libraries, runPath(build.libraryFolder), '-o', build.output],
    ],
    signal,
  );
}
