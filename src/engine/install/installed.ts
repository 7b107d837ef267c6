/**
 * @file Finds the native engine in the cache by reading files only. Loads no tensor library.
 *
 * `<cache>/engine/<platform>-<arch>-v<format>/current.json` names the folder in use, whose `engine.json` lists
 * its files. Both are written last and renamed into place, so any other folder is a leftover of a stopped install.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { hashFile } from '../../util/checksum.js';
import { systemErrorCode } from '../../util/errors.js';
import { isRecord } from '../../util/json.js';
import { cacheFolder } from '../../util/machine.js';

/**
 * Incremented when the folder's layout or the compiled addon changes. Part of the path, so checkouts of different
 * versions each keep their own engine.
 */
export const engineFormat = 20;

export interface InstalledFile {
  /** Relative to the engine's folder, with forward slashes. */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** `engine.json`. Paths are relative to its folder. */
export interface EngineManifest {
  readonly format: number;
  readonly tensorflow: string;
  readonly variant: 'cpu' | 'gpu';
  /** Source of the library: the Python package index, or tfjs-node's storage server. */
  readonly source: 'wheel' | 'official';
  readonly platform: string;
  readonly binding: string;
  /** The addon with tinyzero's kernels; absent if it could not be built. */
  readonly kernels?: string;
  readonly package: string;
  readonly library: string;
  /** Node version that installed it. */
  readonly node: string;
  readonly installedAt: string;
  readonly files: readonly InstalledFile[];
}

export interface InstalledEngine {
  readonly folder: string;
  /** Path of the addon, for `require`. */
  readonly bindingPath: string;
  /** Path of the addon with tinyzero's kernels; load it after `bindingPath`. */
  readonly kernelsPath?: string;
  /** Folder of tfjs-node-gpu's JavaScript. */
  readonly packageFolder: string;
  /** Folder of TensorFlow's shared libraries. */
  readonly libraryFolder: string;
  readonly tensorflow: string;
  readonly variant: 'cpu' | 'gpu';
  readonly source: EngineManifest['source'];
  readonly manifest: EngineManifest;
}

/** State of the cache: an engine, none, or a broken one; and the leftovers of stopped installs. */
export interface EngineState {
  readonly root: string;
  readonly engine?: InstalledEngine;
  /** Why the current engine is unusable. */
  readonly broken?: string;
  /** Folders and downloads that no engine uses. */
  readonly leftovers: readonly string[];
}

/** Folder of the engines of this platform and format. */
export function engineRoot(env: NodeJS.ProcessEnv = process.env): string {
  return join(cacheFolder(env), 'engine', `${process.platform}-${process.arch}-v${engineFormat}`);
}

/** Folder of finished and unfinished downloads of `engine install`. */
export function downloadsFolder(env: NodeJS.ProcessEnv = process.env): string {
  return join(engineRoot(env), 'downloads');
}

/** The installed engine, or undefined. Reads two small files and the sizes of the libraries. Read-only. */
export function findInstalledEngine(env: NodeJS.ProcessEnv = process.env): InstalledEngine | undefined {
  return inspectEngine(env).engine;
}

/** Like {@link findInstalledEngine}, with the reason why an engine is unusable, and the leftovers. */
export function inspectEngine(env: NodeJS.ProcessEnv = process.env): EngineState {
  const root = engineRoot(env);
  const pointer = readJson(join(root, 'current.json'));
  const name = pointer === undefined ? undefined : folderNamed(pointer);
  const leftovers = listLeftovers(root, name);
  if (pointer === undefined) return { root, leftovers };
  if (name === undefined) return { root, leftovers, broken: `${join(root, 'current.json')} does not name an engine` };
  const folder = join(root, name);
  const manifest = manifestOf(readJson(join(folder, 'engine.json')));
  if (manifest === undefined) return { root, leftovers, broken: `${folder} has no readable engine.json` };
  if (manifest.format !== engineFormat) {
    return {
      root,
      leftovers,
      broken: `it has format ${manifest.format}, this version of tinyzero uses ${engineFormat}`,
    };
  }
  const damaged = manifest.files.find(({ path, bytes }) => sizeOf(join(folder, path)) !== bytes);
  if (damaged !== undefined) {
    return {
      root,
      leftovers,
      broken: `${join(folder, damaged.path)} is missing or its size differs from the installed file's`,
    };
  }
  return { root, leftovers, engine: describe(folder, manifest) };
}

/** A manifest of any format, checked by its hashes alone. Engines installed until November 2026 call the source `rung`. */
function manifestOf(json: unknown): EngineManifest | undefined {
  return isRecord(json) ? ({ source: json.rung, ...json } as unknown as EngineManifest) : undefined;
}

/** Hashes every file of `engine` (about a second) and returns the paths whose hash differs from the manifest. */
export async function findDamagedFiles(engine: InstalledEngine): Promise<string[]> {
  const damaged: string[] = [];
  for (const { path, sha256 } of engine.manifest.files) {
    const file = join(engine.folder, path);
    if ((await hashFile(file).catch(() => undefined)) !== sha256) damaged.push(file);
  }
  return damaged;
}

/** The engine in `folder` with this manifest. */
export function describe(folder: string, manifest: EngineManifest): InstalledEngine {
  return {
    folder,
    bindingPath: join(folder, manifest.binding),
    ...(manifest.kernels !== undefined && { kernelsPath: join(folder, manifest.kernels) }),
    packageFolder: join(folder, manifest.package),
    libraryFolder: join(folder, manifest.library),
    tensorflow: manifest.tensorflow,
    variant: manifest.variant,
    source: manifest.source,
    manifest,
  };
}

function listLeftovers(root: string, current: string | undefined): string[] {
  const known = new Set([current, 'current.json', 'install.lock', 'install.lock.owner', 'downloads']);
  const folders = list(root).filter((name) => !known.has(name));
  return [...folders, ...list(join(root, 'downloads')).map((name) => join('downloads', name))].map((name) =>
    join(root, name),
  );
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(systemErrorCode(error) ?? '')) return [];
    throw error;
  }
}

function folderNamed(pointer: unknown): string | undefined {
  if (typeof pointer !== 'object' || pointer === null || !('folder' in pointer)) return undefined;
  const { folder } = pointer;
  // A plain name, so that the pointer cannot lead out of the cache.
  return typeof folder === 'string' && /^[\w.-]+$/.test(folder) && !folder.startsWith('.') ? folder : undefined;
}

/** Parsed JSON; undefined if the file is missing, null if it is not JSON. */
function readJson(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function sizeOf(path: string): number | undefined {
  try {
    return statSync(path).size;
  } catch {
    return undefined;
  }
}
