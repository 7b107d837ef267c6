/**
 * @file Fetches a pinned npm package as a tarball with the user's npm, which knows their registry and proxy.
 */
import { existsSync, mkdirSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { hashFile } from '../../../util/checksum.js';
import { findProgram, run } from '../../../util/process.js';
import type { NpmPackage } from '../packages.js';
import { Unavailable } from './unavailable.js';

/** Returns the path of the package's tarball in `folder`, downloading it if it is missing. */
export async function packNpm(wanted: NpmPackage, folder: string, signal: AbortSignal): Promise<string> {
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
      throw new Unavailable(
        'wrong-hash',
        `The npm registry served ${spec} with another integrity hash than the pinned one.`,
      );
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
    throw new Unavailable('no-npm', "npm was not found, and the engine's binding comes from the npm registry.");
  }
  return found;
}

function lastError(output: string): string {
  const lines = output.split('\n').filter((line) => /^npm (error|ERR!)/.test(line) && !/A complete log/.test(line));
  return `${(lines[1] ?? lines[0] ?? 'no reason given').replace(/^npm (error|ERR!) /, '').replace(/\.$/, '')}.`;
}
