/**
 * @file Starts a run of a set as a separate process of this program, which reports its progress on a channel. If this process
 * ends for any reason, the channel closes, and the run saves and stops (terminal/interrupt.ts).
 */
import { fork } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runFiles } from '../../run/folder.js';
import { argumentsOf, type PlannedRun, type RunPlan, setFiles } from '../../run/many/plan.js';
import { explainWrites, makeFolder } from '../../util/file.js';
import { isProgress, type Progress, stopMessage } from '../terminal/channel.js';

export interface MemberRequest {
  /** Of the set. */
  readonly folder: string;
  readonly command: RunPlan['command'];
  readonly run: PlannedRun;
  /** Arguments of every run: the engine. */
  readonly common: readonly string[];
  /** Processor threads that the run may use; undefined: no limit. */
  readonly threads: number | undefined;
  readonly onProgress: (progress: Progress) => void;
}

export interface RunningMember {
  /** Exit code; null if a signal ended the process. */
  readonly ended: Promise<number | null>;
  /** Asks it to save and stop. */
  stop(): void;
}

const cli = fileURLToPath(new URL('../../cli.js', import.meta.url));

/** The file with a run's output. */
export function logOf(folder: string, { name }: PlannedRun): string {
  return join(folder, setFiles.logs, `${name}.log`);
}

/** Starts a run, or resumes it. */
export function startMember({ folder, command, run, common, threads, onProgress }: MemberRequest): RunningMember {
  const own = join(folder, run.name);
  const begun = existsSync(join(own, runFiles.config));
  const args = begun ? ['--resume', own] : [...argumentsOf(run.flags), '--out', own];
  const path = logOf(folder, run);
  const log = explainWrites(path, () => {
    makeFolder(join(folder, setFiles.logs));
    return openSync(path, 'a');
  });
  const child = fork(cli, [command, ...args, ...common], {
    env: { ...process.env, ...(threads !== undefined && threadSettings(threads)), NO_COLOR: '1', FORCE_COLOR: '' },
    stdio: ['ignore', 'ignore', log, 'ipc'],
  });
  closeSync(log);
  const kill = () => child.kill('SIGKILL');
  // A second Ctrl-C ends this process at once; the run resumes from its files.
  process.on('exit', kill);
  child.on('message', (message) => {
    if (isProgress(message)) onProgress(message);
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code));
  }).finally(() => process.off('exit', kill));
  const stop = () => {
    if (child.connected) child.send(stopMessage, () => {});
  };
  return { ended, stop };
}

/** Runs side by side share the processors; more threads than processors would slow all of them down. */
function threadSettings(threads: number): NodeJS.ProcessEnv {
  const count = String(threads);
  return { TF_NUM_INTRAOP_THREADS: count, TF_NUM_INTEROP_THREADS: count, TINYZERO_KERNEL_THREADS: count };
}

/** The last line of a run's output, which says why it ended; undefined if it printed nothing. */
export function lastWords(folder: string, run: PlannedRun): string | undefined {
  const path = logOf(folder, run);
  if (!existsSync(path)) return undefined;
  return readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .at(-1)
    ?.replace(/^tinyzero: /, '');
}
