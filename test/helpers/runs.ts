/**
 * @file Short training runs in separate processes, and the files of a run whose bytes must not differ.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CliResult, cliPath, merge } from './cli.js';

/** Five updates of eight rollouts, with checkpoints and an evaluation on held-out problems. */
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

/** A run that is long enough to be seen under way: 20 rows, 12 times, in 30 updates of 8. */
export const longerRun = shortRun.map((word, i) => (shortRun[i - 1] === '--epochs' ? '12' : word));

/** Hashes of all files in the folder that contain no times, by path. */
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

/** Runs the command line and sends it `signal` when `due` returns true, called at every piece of output and every 5 ms. */
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

/** The command line that starts a short run in `folder`, or resumes an existing one. */
export function beginOrResume(folder: string, engine: string): string[] {
  const engineFlags = ['--engine', engine, '--no-install'];
  if (existsSync(join(folder, 'config.json'))) return ['train', '--resume', folder, ...engineFlags];
  return ['train', ...shortRun, '--out', folder, ...engineFlags];
}
