/**
 * @file Puts tfjs-node-gpu's files into a new engine: its JavaScript, and the C++ sources of the addon. They are copied
 * from node_modules when the exact version lies there, else fetched with npm; either way their hash must be the pinned
 * one. node_modules itself is only read.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { extract } from '../fetch/archive.js';
import { packNpm } from '../fetch/npm.js';
import { Unavailable } from '../fetch/unavailable.js';
import { bindingFilesDigest, bindingPackage, headersPackage } from '../packages.js';

/** What the engine uses of the package: the compiled JavaScript without its tests, and the addon's sources. */
export function isNeeded(path: string): boolean {
  return /^binding\/[^/]+\.(cc|h)$/.test(path) || (/^dist\/.+\.js$/.test(path) && !/(_test|run_tests)\.js$/.test(path));
}

/**
 * Copies the package into `<folder>/package` (JavaScript) and `<folder>/build/binding` (sources).
 *
 * @param tarballs where npm tarballs are kept, and may already lie.
 */
export async function stageBinding(folder: string, tarballs: string, signal: AbortSignal): Promise<void> {
  const installed = installedPackage();
  const unpacked = join(folder, 'build', 'tfjs-node-gpu');
  if (installed === undefined || filesDigest(installed) !== bindingFilesDigest) {
    const tarball = await packNpm(bindingPackage, tarballs, signal);
    await extract(tarball, unpacked, (path) => neededName(path.replace(/^package\//, '')), { signal });
    if (filesDigest(unpacked) !== bindingFilesDigest) {
      throw new Unavailable('wrong-hash', `${bindingPackage.name} ${bindingPackage.version} is not the one expected.`);
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

/** What tfjs-node requires, and the symbol under which backend.ts leaves this process's copy of it. */
const sharedModules = {
  '@tensorflow/tfjs': 'tinyzero.tfjs',
  // One kernel of tfjs-node requires the core by its own name; the union has all of it.
  '@tensorflow/tfjs-core': 'tinyzero.tfjs',
  'google-protobuf': 'tinyzero.google-protobuf',
};

/** Gives the package, which lies outside every node_modules, the modules it requires: those of the running tinyzero. */
function stageSharedModules(folder: string): void {
  for (const [name, symbol] of Object.entries(sharedModules)) {
    const target = join(folder, ...name.split('/'));
    mkdirSync(target, { recursive: true });
    writeFileSync(join(target, 'package.json'), `${JSON.stringify({ name, main: 'index.js' })}\n`);
    writeFileSync(
      join(target, 'index.js'),
      `// The one copy of this process: two would have two engines and two sets of kernels.\nmodule.exports = globalThis[Symbol.for('${symbol}')];\n`,
    );
  }
}

/** Folder with `node_api.h`: Node's own headers where they are installed, else those of an npm package. */
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

/** The package's folder in node_modules, when it is exactly the pinned version. */
function installedPackage(): string | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve(`${bindingPackage.name}/package.json`);
    const { version } = JSON.parse(readFileSync(manifest, 'utf8'));
    return version === bindingPackage.version ? dirname(manifest) : undefined;
  } catch {
    return undefined;
  }
}

/** One SHA-256 over names and contents of the needed files, in order of name. */
export function filesDigest(folder: string): string {
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
