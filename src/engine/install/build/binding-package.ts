/**
 * @file Adds the files of tfjs-node-gpu to a new engine: its JavaScript, and the C++ sources of the addon. Copies them from
 * node_modules if the exact version is installed, otherwise fetches them with the user's npm, which knows their registry and
 * proxy; their hash must be the pinned one. node_modules is only read.
 */
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { hashFile } from '../../../util/checksum.js';
import { findProgram, run } from '../../../util/process.js';
import { extract } from '../fetch/archive.js';
import { Unavailable } from '../fetch/unavailable.js';
import type { NpmPackage } from '../packages.js';
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
  const source = existsSync(unpacked) ? unpacked : installed!;
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

/** Returns the path of the package's tarball in `folder`, downloading it if it is missing. */
async function packNpm(wanted: NpmPackage, folder: string, signal: AbortSignal): Promise<string> {
  const target = join(folder, tarballName(wanted));
  if (await hasIntegrity(target, wanted)) return target;
  const cli = findNpm();
  const work = join(folder, `npm-${process.pid}`);
  mkdirSync(work, { recursive: true });
  try {
    const spec = `${wanted.name}@${wanted.version}`;
    const args = [cli, 'pack', spec, '--pack-destination', work, '--ignore-scripts', '--no-audit', '--no-fund'];
    const result = await run(process.execPath, args, { signal, cwd: work });
    if (result.code !== 0) {
      const offline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT/;
      const output = result.stdout + result.stderr;
      if (offline.test(output)) throw new Unavailable('no-network', `npm could not reach its registry for ${spec}.`);
      if (/ENOSPC/.test(output)) throw new Unavailable('no-space', `The disk filled up while npm fetched ${spec}.`);
      throw new Unavailable('download-failed', `npm could not fetch ${spec}: ${lastError(output)}`);
    }
    const packed = join(work, tarballName(wanted));
    if (!(await hasIntegrity(packed, wanted))) {
      throw new Unavailable('wrong-hash', `The npm registry served ${spec} with an unexpected integrity hash.`);
    }
    renameSync(packed, target);
    return target;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The file name that `npm pack` gives a package: `@a/b` 1.0.0 becomes `a-b-1.0.0.tgz`. */
function tarballName({ name, version }: NpmPackage): string {
  return `${name.replace(/^@/, '').replace('/', '-')}-${version}.tgz`;
}

async function hasIntegrity(path: string, { integrity }: NpmPackage): Promise<boolean> {
  return existsSync(path) && `sha512-${await hashFile(path, 'sha512', 'base64')}` === integrity;
}

/** Path of npm's script, which runs on this Node without a shell or a .cmd file. */
function findNpm(): string {
  const beside = dirname(process.execPath);
  const onPath = findProgram('npm');
  const candidates = [
    process.env.npm_execpath,
    join(beside, '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js'),
    join(beside, 'node_modules', 'npm', 'bin', 'npm-cli.js'),
    onPath === undefined ? undefined : realpathSync(onPath),
    onPath === undefined ? undefined : join(dirname(onPath), 'node_modules', 'npm', 'bin', 'npm-cli.js'),
  ];
  const found = candidates.find((path) => path?.endsWith('npm-cli.js') && existsSync(path));
  if (found === undefined) {
    throw new Unavailable('no-npm', "npm was not found, but the engine's binding comes from the npm registry.");
  }
  return found;
}

function lastError(output: string): string {
  const lines = output.split('\n').filter((line) => /^npm (error|ERR!)/.test(line) && !/A complete log/.test(line));
  return `${(lines[1] ?? lines[0] ?? 'no reason given').replace(/^npm (error|ERR!) /, '').replace(/\.$/, '')}.`;
}
