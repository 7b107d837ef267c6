/** @file An account at the test's Modal, in which this package can be installed without a network. */
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type CliResult, tinyzero } from '../cli.js';
import { type CliProcess, startCli } from './cli-process.js';
import { startModal, type TestModal } from './server.js';

const packages = fileURLToPath(new URL('../../../../node_modules', import.meta.url));

/** Unpacks the packed package as npm does, with the packages of this checkout instead of downloads. */
const npm = `
for tarball; do :; done
mkdir -p "$TEST_IMAGE/lib" && tar -xzf "$tarball" -C "$TEST_IMAGE/lib" || exit 1
ln -sfn ${packages} "$TEST_IMAGE/lib/package/node_modules"
printf '#!/bin/sh\\nexec "${process.execPath}" "%s/lib/package/dist/src/cli.js" "$@"\\n' "$TEST_IMAGE" > "$TEST_IMAGE/bin/tinyzero"
chmod +x "$TEST_IMAGE/bin/tinyzero"
echo "added 1 package"`;

export interface Account extends TestModal {
  /** Runs a command line with this account. */
  run(args: readonly string[], env?: Record<string, string | undefined>): Promise<CliResult>;
  /** Starts one. */
  start(args: readonly string[], env?: Record<string, string | undefined>): CliProcess;
}

export async function openAccount(t: TestContext): Promise<Account> {
  const modal = await startModal(t, { npm });
  // TensorFlow for CUDA is a download of 3.4 GB for machines with a GPU.
  modal.faults.answer = ([program, ...args]) =>
    program === 'tinyzero' && args[0] === 'engine' ? { code: 0, text: 'TensorFlow is installed.' } : undefined;
  return {
    ...modal,
    run: (args, env = {}) => tinyzero(args, { ...modal.env, HF_TOKEN: undefined, ...env }),
    start: (args, env = {}) => startCli(t, args, { ...modal.env, ...env }),
  };
}
