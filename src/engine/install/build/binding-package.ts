/**
 * @file Adds the files of tfjs-node-gpu to a new engine: its JavaScript, and the C++ sources of the addon. Copies them
 * from node_modules if the exact version is installed, otherwise fetches them with npm; their hash must be the pinned
 * one. node_modules is only read.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { extract } from '../fetch/archive.js';
import { packNpm } from '../fetch/npm.js';
import { Unavailable } from '../fetch/unavailable.js';
import { bindingFilesDigest, bindingPackage, headersPackage } from '../packages.js';

/** Whether the engine uses this file of the package: compiled JavaScript without tests, and C++ sources. */
function isNeeded(path: string): boolean {
  return /^binding\/[^/]+\.(cc|h)$/.test(path) || (/^dist\/.+\.js$/.test(path) && !/(_test|run_tests)\.js$/.test(path));
}

/**
 * Copies the package into `<folder>/package` (JavaScript) and `<folder>/build/binding` (sources).
 *
 * @param tarballs folder of downloaded npm tarballs.
 */
export async function stageBinding(folder: string, tarballs: string, signal: AbortSignal): Promise<void> {
  const installed = installedPackage();
  const unpacked = join(folder, 'build', 'tfjs-node-gpu');
  if (installed === undefined || filesDigest(installed) !== bindingFilesDigest) {
    const tarball = await packNpm(bindingPackage, tarballs, signal);
    await extract(tarball, unpacked, (path) => neededName(path.replace(/^package\//, '')), { signal });
    if (filesDigest(unpacked) !== bindingFilesDigest) {
      throw new Unavailable(
        'wrong-hash',
        `${bindingPackage.name} ${bindingPackage.version} does not have the pinned contents.`,
      );
    }
  }
  const source = existsSync(unpacked) ? unpacked : (installed as string);
  for (const path of neededFiles(source)) {
    const target = join(folder, path.startsWith('binding/') ? join('build', path) : join('package', path));
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(join(source, path), target);
  }
  const { name, version } = bindingPackage;
  writeFileSync(join(folder, 'package', 'package.json'), `${JSON.stringify({ name, version }, null, 2)}\n`);
  stageSharedModules(join(folder, 'package', 'node_modules'));
}

/** Modules that tfjs-node requires, and the symbol under which backend.ts shares this process's copy. */
const sharedModules = {
  '@tensorflow/tfjs': 'tinyzero.tfjs',
  // Of the union package, tfjs-node's kernels use the core alone.
  '@tensorflow/tfjs-core': 'tinyzero.tfjs',
  'google-protobuf': 'tinyzero.google-protobuf',
};

/** Lets the package, which is outside every node_modules, require the modules of the running tinyzero. */
function stageSharedModules(folder: string): void {
  for (const [name, symbol] of Object.entries(sharedModules)) {
    const target = join(folder, ...name.split('/'));
    mkdirSync(target, { recursive: true });
    writeFileSync(join(target, 'package.json'), `${JSON.stringify({ name, main: 'index.js' })}\n`);
    writeFileSync(
      join(target, 'index.js'),
      `// This process's copy: a second copy would have its own engine and kernels.\nmodule.exports = globalThis[Symbol.for('${symbol}')];\n`,
    );
  }
}

/** Folder with `node_api.h`: Node's headers if they are installed, otherwise those of an npm package. */
export async function stageHeaders(folder: string, tarballs: string, signal: AbortSignal): Promise<string> {
  const prefixes = [process.env.npm_config_nodedir, join(dirname(process.execPath), '..')];
  for (const prefix of prefixes) {
    if (prefix === undefined) continue;
    const headers = join(prefix, 'include', 'node');
    if (existsSync(join(headers, 'node_api.h'))) return headers;
  }
  const tarball = await packNpm(headersPackage, tarballs, signal);
  await extract(tarball, folder, (path) => /^package\/(include\/.*\.h)$/.exec(path)?.[1], { signal });
  return join(folder, 'include');
}

/** The package's folder in node_modules, if its version is the pinned one. */
function installedPackage(): string | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve(`${bindingPackage.name}/package.json`);
    const { version } = JSON.parse(readFileSync(manifest, 'utf8'));
    return version === bindingPackage.version ? dirname(manifest) : undefined;
  } catch {
    return undefined;
  }
}

/** SHA-256 over the names and contents of the needed files, sorted by name. */
function filesDigest(folder: string): string {
  const digest = createHash('sha256');
  for (const path of neededFiles(folder)) {
    const content = createHash('sha256')
      .update(readFileSync(join(folder, path)))
      .digest('hex');
    digest.update(`${content}  ${path}\n`);
  }
  return digest.digest('hex');
}

function neededFiles(folder: string): string[] {
  return ['binding', 'dist']
    .filter((name) => existsSync(join(folder, name)))
    .flatMap((name) =>
      readdirSync(join(folder, name), { recursive: true, encoding: 'utf8' }).map((path) =>
        join(name, path).replaceAll('\\', '/'),
      ),
    )
    .filter(isNeeded)
    .sort();
}

function neededName(path: string): string | undefined {
  return isNeeded(path) ? path : undefined;
}
