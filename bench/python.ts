/**
 * @file The Python environment of the peers, in bench/peers/.venv, made only on request. It is not needed to use or to test
 * tinyzero.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../bench/peers/', import.meta.url));
const environment = join(folder, '.venv');
const python = join(environment, 'bin', 'python');
const requirements = join(folder, 'requirements.txt');

/** The interpreter of the environment. */
export const pythonOfPeers = python;

/** The command that runs a script of bench/peers. */
export const peer = (script: string, ...args: string[]): string[] => [python, join(folder, script), ...args];

/** Packages of the peers, such as `torch==2.15.0`. */
export function peerVersions(): string[] {
  return readFileSync(requirements, 'utf8')
    .split('\n')
    .filter((line) => line.includes('=='));
}

/** Makes the environment, printing each command. Installed packages are kept. */
export function installPeers(): void {
  const run = (program: string, ...args: string[]) => {
    console.error(`$ ${[program, ...args].join(' ')}`);
    const { status } = spawnSync(program, args, { stdio: 'inherit' });
    if (status !== 0) throw new Error(`${program} failed (${status})`);
  };
  if (!existsSync(python)) run(process.env.PYTHON ?? 'python3', '-m', 'venv', environment);
  console.error('PyTorch from the Python package index comes with CUDA: about 3 GB to download, 6 GB on disk.');
  run(python, '-m', 'pip', 'install', '--quiet', '-r', requirements);
}

/** Imports everything once, so that no timed run compiles Python or reads files for the first time. */
export function warmPeers(): void {
  if (!existsSync(python)) {
    throw new Error(
      'The peers are not installed. `npm run bench:peers -- --install` installs them in bench/peers/.venv.',
    );
  }
  const imports = 'import torch, transformers, datasets, tokenizers, trl.experimental.a2po';
  const { status, stderr } = spawnSync(python, ['-c', imports], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`The peers do not load; remove ${environment} and install them again.\n${stderr}`);
}

/** Environment variables, the same for every side; `folder` is a new one. */
export function peerEnvironment(run: { threads: number; waitPolicy: string; folder: string }): NodeJS.ProcessEnv {
  return {
    OMP_NUM_THREADS: String(run.threads),
    OMP_WAIT_POLICY: run.waitPolicy,
    HF_HUB_OFFLINE: '1',
    TRANSFORMERS_VERBOSITY: 'error',
    // Empty, so that torch.compile compiles each time, which is part of the measurement.
    TORCHINDUCTOR_CACHE_DIR: join(run.folder, 'inductor'),
  };
}
