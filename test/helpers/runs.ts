/**
 * @file Short training runs in processes of their own, and what of a run must be the same bytes again.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CliResult, cliPath, merge } from './cli.js';

/** Five updates of eight rollouts, with checkpoints and a look at held-out problems on the way. */
export const shortRun = [
  '--num-train',
  '20',
  '--num-test',
  '4',
  '--epochs',
  '2',
  '--batch-size',
  '8',
  '--num-samples',
  '4',
  '--max-new-tokens',
  '40',
  '--eval-samples',
  '2',
  '--eval-every',
  '3',
  '--save-every',
  '2',
  '--seed',
  '5',
  '--train-on',
  'all', // so that the number of updates is known whatever the model solves
];

/** Everything in the folder that no clock has a part in, by path, as hashes. */
export function runBytes(folder: string): Record<string, string> {
  const clocks = (path: string) => ['timings.jsonl', 'run.lock', 'report.html'].includes(path);
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).sort();
  return Object.fromEntries(
    paths
      .filter((path) => !clocks(path))
      .map((path) => [
        path,
        createHash('sha256')
          .update(readFileSync(join(folder, path)))
          .digest('hex'),
      ]),
  );
}

export interface Killed extends CliResult {
  readonly signal: NodeJS.Signals | null;
}

/** Runs the command line and sends it `signal` when `due` says so, asked at every piece of output and every 5 ms. */
export function runUntil(
  args: readonly string[],
  signal: NodeJS.Signals,
  due: (elapsedMs: number, output: string) => boolean,
): Promise<Killed> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(process.execPath, [cliPath, ...args], { env: merge({}), stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr, sent] = ['', '', false];
    const look = () => {
      if (sent || !due(performance.now() - start, stderr)) return;
      sent = true;
      child.kill(signal);
    };
    const timer = setInterval(look, 5);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      look();
    });
    child.on('error', reject);
    child.on('close', (code, by) => {
      clearInterval(timer);
      resolve({ code, stdout, stderr, signal: by });
    });
  });
}

/** The command line that begins a short run in `folder`, or goes on with the one that is there. */
export function beginOrResume(folder: string, engine: string): string[] {
  const engineFlags = ['--engine', engine, '--no-install'];
  if (existsSync(join(folder, 'config.json'))) return ['train', '--resume', folder, ...engineFlags];
  return ['train', ...shortRun, '--out', folder, ...engineFlags];
}
