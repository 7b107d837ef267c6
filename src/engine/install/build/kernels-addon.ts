/**
 * @file Builds the addon with TensorFlow kernels of our own from the C++ sources in native/, which come with the package.
 * The arithmetic is compiled once per instruction set and chosen when the addon is loaded, because the cache that the
 * engine lies in may be shared by machines.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type AddonBuild, compile, linkFlags, nodeFlags, runPath, sourceFlags } from './addon.js';

/** Folder of the sources. */
export const nativeSources = fileURLToPath(new URL('../../../../../native/', import.meta.url));

/** Table of functions in kernels.h -> what the compiler may use for it. A processor of another kind has the baseline alone. */
const instructionSets: Readonly<Record<string, readonly string[]>> = {
  baselineMath: [],
  ...(process.arch === 'x64' && {
    avx2Math: ['-mavx2', '-mfma'],
    avx512Math: ['-mavx512f', '-mavx512bw', '-mavx512cd', '-mavx512dq', '-mavx512vl', '-mavx2', '-mfma'],
  }),
};

/** Neither changes a result: the first is about `errno`, the second about traps, which nobody here asks for. */
const optimised = ['-O3', '-fno-math-errno', '-fno-trapping-math', '-Wno-psabi'];

/** Compiles and links `build.output`; a few seconds. Objects are left in `build.sources`. */
export async function buildKernels(build: AddonBuild, signal: AbortSignal): Promise<void> {
  const common = [...sourceFlags, ...optimised];
  const objects: string[] = [];
  for (const [table, instructions] of Object.entries(instructionSets)) {
    const object = join(build.sources, `${table}.o`);
    const source = join(nativeSources, 'math.cc');
    await compile(build.compiler, [...common, ...instructions, `-DMATH=${table}`, '-c', source, '-o', object], signal);
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
        ...build.includes.flatMap((folder) => ['-isystem', folder]),
      ],
      ...sources.map((name) => join(nativeSources, name)),
      ...[...objects, ...build.libraries, runPath(build.libraryFolder), '-o', build.output],
    ],
    signal,
  );
}
