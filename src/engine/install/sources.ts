/**
 * @file The two sources of a native engine: `wheel` is TensorFlow 2.21 from the Python package index, `official` is
 * the older library that tfjs-node's installer uses. Each fills a staging folder with a loadable engine, or throws
 * `Unavailable` with the reason.
 */
import { existsSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Reporter } from '../../util/reporter.js';
import { type AddonBuild, buildAddon, buildKernels, type Compiler, findCompiler } from './build/addon.js';
import { stageBinding, stageHeaders } from './build/binding-package.js';
import { checkCudaLibraries, checkLoads, linkCudaLibraries } from './build/loading.js';
import { extract } from './fetch/archive.js';
import { fetchOfficial } from './fetch/official.js';
import { Unavailable } from './fetch/unavailable.js';
import { downloadWheel, findPip } from './fetch/wheels.js';
import { type EngineManifest, engineFormat } from './installed.js';
import {
  type Catalog,
  chooseWheel,
  type Platform,
  requireOfficialGlibc,
  tensorflowVersion,
  type Variant,
} from './packages.js';
import { requireSpace } from './staging.js';

export type Source = EngineManifest['source'];

interface SourceContext {
  readonly catalog: Catalog;
  readonly machine: Platform;
  readonly variant: Variant;
  /** Folder of the engines, on whose disk free space is checked. */
  readonly root: string;
  readonly staging: string;
  readonly downloads: string;
  /** Paths of local wheels by file name, from `--from`; pip is then not used. */
  readonly local?: ReadonlyMap<string, string>;
  /** Replaces the storage server in tests. */
  readonly storage?: URL;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
}

/** The sources in the order in which they are tried, best first. */
export const sources: readonly (readonly [Source, Take])[] = [
  ['wheel', takeWheels],
  ['official', takeOfficial],
];

/** Fills the staging folder and returns the manifest without its files. */
export type Take = (context: SourceContext) => Promise<Facts>;

type Facts = Omit<EngineManifest, 'files'>;

/** Headers that the binding and tinyzero's kernels include. */
const headers =
  /^tensorflow\/include\/((?:tensorflow\/c|tensorflow\/core\/(?:platform|common_runtime\/next_pluggable_device\/c)|xla\/tsl|tsl\/platform)\/.+\.h)$/;

async function takeWheels(context: SourceContext): Promise<Facts> {
  const { catalog, machine, variant, signal, reporter } = context;
  const tensorflow = chooseWheel(catalog.tensorflowWheels, machine, variant);
  const wheels = [tensorflow, ...(variant === 'gpu' ? catalog.cudaWheels : [])];
  const pip = context.local === undefined ? await findPip(signal) : undefined;
  const compiler = await requireCompiler(context);
  const toDownload = context.local === undefined ? sum(wheels.map(({ bytes }) => bytes)) : 0;
  requireSpace(context.root, toDownload + sum(wheels.map(({ unpackedBytes }) => unpackedBytes)));
  for (const wheel of wheels) {
    const archive =
      pip === undefined
        ? context.local!.get(wheel.file)!
        : await downloadWheel(pip, wheel, context.downloads, reporter, signal);
    await unpack(context, `Unpacking ${wheel.project}`, archive, wheel.unpackedBytes, wheelTarget);
  }
  if (variant === 'gpu') {
    linkCudaLibraries(context.staging);
    await checkCudaLibraries(context.staging, signal);
  }
  const suffix = machine.platform === 'darwin' ? '2.dylib' : 'so.2';
  const libraries = [`libtensorflow_cc.${suffix}`, `libtensorflow_framework.${suffix}`];
  const binding = await finish(context, compiler, libraries);
  const kernels = await addKernels(context, compiler, binding, libraries);
  return { ...facts(context, binding), ...kernels, tensorflow: tensorflowVersion, source: 'wheel' };
}

function wheelTarget(path: string): string | undefined {
  if (/^tensorflow\/(libtensorflow_(cc|framework)\.[^/]+|THIRD_PARTY_NOTICES\.txt)$/.test(path)) return path;
  if (path === 'tensorflow/include/LICENSE') return 'tensorflow/LICENSE';
  // CUDA's wheels: libraries, ptxas and libdevice, but not files needed only for compiling.
  if (/^nvidia\//.test(path) && !/\/include\/|\.(py|a)$/.test(path)) return path;
  const header = headers.exec(path)?.[1];
  return header === undefined ? undefined : `build/include/${header}`;
}

async function takeOfficial(context: SourceContext): Promise<Facts> {
  const { catalog, machine, variant } = context;
  const library = catalog.officialLibraries[`${machine.platform}-${machine.arch}-${variant}`];
  if (library === undefined) {
    throw new Unavailable(
      'unsupported-platform',
      `tfjs-node offers no ${variant === 'gpu' ? 'GPU ' : ''}library for ${machine.platform} ${machine.arch}.`,
    );
  }
  requireOfficialGlibc(machine);
  const compiler = await requireCompiler(context);
  requireSpace(context.root, library.bytes + library.unpackedBytes);
  const { downloads, reporter, signal, storage } = context;
  const archive = await fetchOfficial(library, downloads, reporter, signal, storage);
  const names = await unpack(context, 'Unpacking libtensorflow', archive, library.unpackedBytes, officialTarget);
  const libraries = names.filter((name) => /\.(so\.2|2\.dylib)$/.test(name)).map((name) => basename(name));
  const binding = await finish(context, compiler, libraries);
  return { ...facts(context, binding), tensorflow: library.tensorflow, source: 'official' };
}

/** Renames `libtensorflow.so.2.9.1` to `libtensorflow.so.2`, the name that the linker looks for. */
function officialTarget(path: string): string | undefined {
  const unix = /^lib\/(libtensorflow(?:_framework)?)\.(?:so\.(\d+)[\d.]*|(\d+)[\d.]*\.dylib)$/.exec(path);
  if (unix !== null) return `tensorflow/${unix[1]}${unix[2] ? `.so.${unix[2]}` : `.${unix[3]}.dylib`}`;
  if (/^(LICENSE|THIRD_PARTY_TF_C_LICENSES)$/.test(path)) return `tensorflow/${path}`;
  return path.startsWith('include/') ? `build/${path}` : undefined;
}

/** Checked before the large download starts. No prebuilt addon is used, since none has a published hash. */
async function requireCompiler({ machine, signal }: SourceContext): Promise<Compiler> {
  const compiler = machine.platform === 'win32' ? undefined : await findCompiler(signal);
  if (compiler !== undefined) return compiler;
  const names = machine.platform === 'win32' ? 'none is supported on Windows' : '$CXX, g++, c++, clang++';
  throw new Unavailable('no-compiler', `The addon must be compiled, but no C++ compiler was found (${names}).`);
}

/** Adds the binding to the unpacked libraries and proves that it loads. Returns its path in the staging folder. */
async function finish(context: SourceContext, compiler: Compiler, libraries: readonly string[]): Promise<string> {
  const { staging, downloads, reporter, signal } = context;
  const libraryFolder = join(staging, 'tensorflow');
  const missing =
    libraries.length === 0 ? 'libtensorflow' : libraries.find((name) => !existsSync(join(libraryFolder, name)));
  if (missing !== undefined) throw new Unavailable('download-failed', `${missing} is not in the downloaded archive.`);
  await stageBinding(staging, downloads, signal);
  const binding = 'addon/tfjs_binding.node';
  const build = await addonBuild(context, compiler, libraries, binding);
  reporter.line('Compiling the addon (about 15 s).');
  await buildAddon(build, signal);
  const { tensorflow } = await checkLoads(join(staging, binding), undefined, signal);
  reporter.line(`TensorFlow ${tensorflow} loads and computes.`);
  return binding;
}

async function addonBuild(
  { staging, downloads, signal }: SourceContext,
  compiler: Compiler,
  libraries: readonly string[],
  output: string,
): Promise<AddonBuild> {
  const nodeHeaders = await stageHeaders(join(staging, 'build', 'node'), downloads, signal);
  return {
    compiler,
    sources: join(staging, 'build', 'binding'),
    includes: [join(staging, 'build', 'include'), nodeHeaders],
    libraries: libraries.map((name) => join(staging, 'tensorflow', name)),
    libraryFolder: '../tensorflow',
    output: join(staging, output),
  };
}

/** Builds the kernels addon. Without it, everything works but is slower, so a failure is tolerated. */
async function addKernels(
  context: SourceContext,
  compiler: Compiler,
  binding: string,
  libraries: readonly string[],
): Promise<{ kernels: string } | undefined> {
  const { staging, reporter, signal } = context;
  const kernels = 'addon/kernels.node';
  try {
    await buildKernels(await addonBuild(context, compiler, libraries, kernels), signal);
    const { ops } = await checkLoads(join(staging, binding), join(staging, kernels), signal);
    reporter.line(`Compiled and loaded ${ops} native TensorFlow kernels of tinyzero.`);
    return { kernels };
  } catch (error) {
    if (!(error instanceof Unavailable) || error.obstacle === 'no-space') throw error;
    rmSync(join(staging, kernels), { force: true });
    reporter.line(`The native kernels of tinyzero are unavailable, so it runs slower: ${error.message}`);
    return undefined;
  }
}

async function unpack(
  { staging, reporter, signal }: SourceContext,
  title: string,
  archive: string,
  bytes: number,
  target: (path: string) => string | undefined,
): Promise<string[]> {
  const transfer = reporter.transfer(title, bytes);
  try {
    return await extract(archive, staging, target, {
      signal,
      onBytes: (done) => transfer.update(Math.min(done, bytes)),
    });
  } finally {
    transfer.end();
  }
}

function facts({ variant, machine }: SourceContext, binding: string) {
  return {
    format: engineFormat,
    variant,
    platform: `${machine.platform}-${machine.arch}`,
    binding,
    package: 'package',
    library: 'tensorflow',
    node: process.versions.node,
    installedAt: new Date().toISOString(),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
