/** @file Runs the command line of this build. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const cli = fileURLToPath(new URL('../../src/cli.js', import.meta.url));

/** Standard output of `tinyzero ...args`. @throws Error with what it wrote to standard error when it fails. */
export function tinyzero(...args: string[]): string {
  const run = spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8', maxBuffer: 2 ** 28 });
  if (run.status !== 0) throw new Error(`tinyzero ${args.join(' ')} failed (${run.status}):\n${run.stderr}`);
  return run.stdout;
}
