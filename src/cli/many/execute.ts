/**
 * @file Runs the unfinished members of a set, each as a separate process of this program, one after the other or side by
 * side, and shows their progress. After a kill at any moment, the same command continues: each member resumes from its own
 * files. If this process ends for any reason, so do the members, after saving (terminal/interrupt.ts).
 */
import { fork } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { runFiles } from '../../run/folder.js';
import { lockFolder, lockHolder } from '../../run/lock.js';
import { argumentsOf, type PlannedRun, type RunPlan, resumeCommand, setFiles } from '../../run/many/plan.js';
import { memberState, readMember } from '../../run/many/state.js';
import type { Needs } from '../../run/needs.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { explainWrites, makeFolder } from '../../util/file.js';
import { counted, formatBytes, formatPercent } from '../../util/format.js';
import type { Reporter } from '../../util/reporter.js';
import { mean } from '../../util/statistics.js';
import { isProgress, type Progress, stopMessage } from '../terminal/interrupt.js';

export interface ExecuteRequest {
  readonly folder: string;
  readonly plan: RunPlan;
  readonly parallel: Parallel;
  /** Arguments of every run. */
  readonly common: readonly string[];
}

export interface FailedRun {
  readonly name: string;
  readonly exitCode: number | null;
  readonly reason: string;
}

interface Running extends RunningMember {
  readonly startedMs: number;
  progress: Progress | undefined;
  note: string | undefined;
}

/** Milliseconds between updates of the display. */
const pollEveryMs = 250;

/**
 * Returns when every member has finished or failed. If one fails, the others continue.
 *
 * @throws UserError when another process runs the set; with exit code 130 after the signal, once all members have saved.
 */
export async function execute(
  { folder, plan, parallel, common }: ExecuteRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<readonly FailedRun[]> {
  const lock = lockFolder(folder);
  const left = plan.runs.filter((run) => memberState(folder, run).state !== 'finished');
  const waiting = [...left];
  const running = new Map<PlannedRun, Running>();
  const failed: FailedRun[] = [];
  const seconds: number[] = [];
  let finished = plan.runs.length - left.length;
  if (finished > 0)
    reporter.line(
      `${counted(finished, 'run')} of ${plan.runs.length} ${finished === 1 ? 'is' : 'are'} already finished.`,
    );

  const start = async (run: PlannedRun) => {
    await waitUntilFree(join(folder, run.name), reporter, signal);
    const startedMs = performance.now();
    const member = startMember({
      ...{ folder, command: plan.command, run, common, threads: parallel.threads },
      onProgress: (progress) => {
        const own = running.get(run);
        if (own === undefined) return;
        own.progress = progress;
        own.note = progress.note ?? own.note;
      },
    });
    running.set(run, { ...member, startedMs, progress: undefined, note: undefined });
    const exitCode = await member.ended;
    running.delete(run);
    if (signal.aborted) return;
    if (exitCode === exitCodes.ok) {
      finished += 1;
      seconds.push((performance.now() - startedMs) / 1000);
      reporter.line(
        `${run.name} finished${outcome(readMember(folder, plan, run).row)} (${finished} of ${plan.runs.length}).`,
      );
      return;
    }
    const reason = lastLineOf(folder, run) ?? 'it printed nothing';
    failed.push({ name: run.name, exitCode, reason });
    reporter.line(
      `${run.name} failed${exitCode === null ? '' : ` with exit code ${exitCode}`}: ${reason} (Log: ${logOf(folder, run)})`,
    );
  };

  const work = reporter.work('Runs', 'runs');
  const show = () => {
    const effort = finished + failed.length + partsDone(running, seconds);
    work.update({
      done: finished + failed.length,
      total: plan.runs.length,
      effort: { done: effort, total: plan.runs.length },
      summary: () => [...running].map(([run, member]) => describe(run, member).trim()).join('; '),
      details: (width) => [...running].map(([run, member]) => describe(run, member).slice(0, width)),
    });
  };
  const timer = setInterval(show, pollEveryMs);
  const stopAll = () => {
    for (const member of running.values()) member.stop();
  };
  signal.addEventListener('abort', stopAll);
  try {
    const worker = async () => {
      for (let run = waiting.shift(); run !== undefined && !signal.aborted; run = waiting.shift()) await start(run);
    };
    const ends = await Promise.allSettled(Array.from({ length: Math.min(parallel.count, left.length) }, worker));
    const broken = ends.find((end) => end.status === 'rejected');
    if (broken !== undefined && !signal.aborted) throw broken.reason;
  } finally {
    signal.removeEventListener('abort', stopAll);
    clearInterval(timer);
    work.end();
    lock.release();
  }
  if (signal.aborted) {
    throw new UserError(
      { problem: 'Stopped; all runs are saved.', fix: `Resume with \`tinyzero ${resumeCommand(plan)} ${folder}\`.` },
      { exitCode: exitCodes.interrupted },
    );
  }
  return failed;
}

/** Waits until no process uses the folder: a member of a set that was killed saves before it ends. */
async function waitUntilFree(folder: string, reporter: Reporter, signal: AbortSignal): Promise<void> {
  for (let waited = 0; ; waited++) {
    const holder = lockHolder(folder);
    if (holder === undefined) return;
    if (waited === 4) reporter.line(`${folder} is still in use by process ${holder.pid}; waiting for it.`);
    await sleep(pollEveryMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** Upper limit for the share of a running member that counts as done, estimated from its time. */
const maxShare = 0.95;

/** Work of the running members in whole runs, estimated from the time of finished ones; 0 before one has finished. */
function partsDone(running: ReadonlyMap<PlannedRun, Running>, seconds: readonly number[]): number {
  if (seconds.length === 0) return 0;
  const usual = mean(seconds);
  const share = ({ startedMs }: Running) => (performance.now() - startedMs) / 1000 / usual;
  return [...running.values()].reduce((sum, member) => sum + Math.min(maxShare, share(member)), 0);
}

function describe({ name }: PlannedRun, { progress, note }: Running): string {
  if (progress === undefined) return `  ${name}  starting`;
  const { title, done, total, unit } = progress;
  if (note !== undefined && unit === 'updates') return `  ${name}  ${note}`;
  const count = unit === 'bytes' ? `${formatBytes(done)} of ${formatBytes(total)}` : `${done} of ${total} ${unit}`;
  return `  ${name}  ${title}: ${count}`;
}

function outcome({
  sampledBefore,
  sampledAfter,
  greedyBefore,
  greedyAfter,
  lossBefore,
  lossAfter,
}: ReturnType<typeof readMember>['row']): string {
  const [before, after] = [sampledBefore ?? greedyBefore, sampledAfter ?? greedyAfter];
  if (before !== undefined && after !== undefined)
    return `: held out ${formatPercent(before)} -> ${formatPercent(after)}`;
  if (lossBefore === undefined || lossAfter === undefined) return '';
  return `: held-out loss ${lossBefore.toFixed(3)} -> ${lossAfter.toFixed(3)}`;
}

interface MemberRequest {
  /** The folder of the set. */
  readonly folder: string;
  readonly command: RunPlan['command'];
  readonly run: PlannedRun;
  /** Arguments of every run: the engine. */
  readonly common: readonly string[];
  /** Processor threads that the run may use; undefined: no limit. */
  readonly threads: number | undefined;
  readonly onProgress: (progress: Progress) => void;
}

interface RunningMember {
  /** Exit code; null if a signal ended the process. */
  readonly ended: Promise<number | null>;
  /** Asks it to save and stop. */
  stop(): void;
}

const cli = fileURLToPath(new URL('../../cli.js', import.meta.url));

/** The file with a run's output. */
function logOf(folder: string, { name }: PlannedRun): string {
  return join(folder, setFiles.logs, `${name}.log`);
}

/** Starts a run, or resumes it. */
function startMember({ folder, command, run, common, threads, onProgress }: MemberRequest): RunningMember {
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
function lastLineOf(folder: string, run: PlannedRun): string | undefined {
  const path = logOf(folder, run);
  if (!existsSync(path)) return undefined;
  return readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .at(-1)
    ?.replace(/^tinyzero: /, '');
}

/** Number of runs side by side, and the reason in a few words. */
export interface Parallel {
  readonly count: number;
  readonly reason: string;
  /** Processor threads of each run; undefined: no limit. */
  readonly threads: number | undefined;
}

/**
 * A smaller model leaves processors idle most of the time, since its matrix products are too small to share. A larger one keeps all
 * processors busy; runs side by side would only need more memory.
 */
const smallParameters = 20e6;
/** Share of the free memory that runs may use. */
const memoryShare = 0.9;

/** @throws UserError (wrong usage) when the text is neither a number nor `auto`. */
export function parseParallel(text: string): number | 'auto' {
  const count = Number(text);
  if (text === 'auto' || (Number.isSafeInteger(count) && count >= 1)) return text === 'auto' ? text : count;
  throw new UserError(`--parallel: expected auto or a whole number, at least 1, found '${text}'`, {
    exitCode: exitCodes.usage,
  });
}

export function chooseParallel(
  wanted: number | 'auto',
  runs: number,
  { memory, device, parameters }: Pick<Needs, 'memory' | 'device'> & { readonly parameters: number },
  { cores = availableParallelism(), free = process.availableMemory() }: { cores?: number; free?: number } = {},
): Parallel {
  const threadsFor = (count: number) => (count > 1 ? Math.max(1, Math.floor(cores / count)) : undefined);
  if (wanted !== 'auto') {
    const count = Math.min(wanted, runs);
    return { count, reason: 'as requested', threads: threadsFor(count) };
  }
  const bytes = Math.max(...memory.map((stage) => stage.bytes));
  const fitting = Math.max(1, Math.floor((memoryShare * free) / bytes));
  const limits: readonly (readonly [count: number, reason: string])[] = [
    [device === 'gpu' ? 1 : cores, device === 'gpu' ? 'one GPU' : `${cores} processors`],
    ...(device !== 'wasm' && parameters >= smallParameters
      ? ([[1, 'one run keeps all processors busy']] as const)
      : []),
    [fitting, `${formatBytes(bytes)} each, ${formatBytes(free)} of memory free`],
    [runs, 'all runs at once'],
  ];
  const [count, reason] = limits.reduce((least, limit) => (limit[0] < least[0] ? limit : least));
  return { count, reason, threads: threadsFor(count) };
}
