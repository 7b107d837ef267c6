/**
 * @file Runs the unfinished members of a set, one after the other or side by side, and shows their progress. After a kill at any
 * moment, the same command continues: each member resumes from its own files.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lockFolder, lockHolder } from '../../run/lock.js';
import { type PlannedRun, type RunPlan, resumeCommand } from '../../run/many/plan.js';
import { memberState, readMember } from '../../run/many/state.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { counted, formatBytes, formatPercent } from '../../util/format.js';
import type { Reporter } from '../../util/reporter.js';
import { mean } from '../../util/statistics.js';
import type { Progress } from '../terminal/channel.js';
import { lastWords, logOf, type RunningMember, startMember } from './member.js';
import type { Parallel } from './parallel.js';

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
const lookEveryMs = 250;

/**
 * Returns when every member has finished or failed. If one fails, the others continue.
 *
 * @throws UserError when another process runs the set, or, with exit code 130, after the signal, when all members have saved.
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
    await freed(join(folder, run.name), reporter, signal);
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
    const reason = lastWords(folder, run) ?? 'it printed nothing';
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
  const timer = setInterval(show, lookEveryMs);
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
async function freed(folder: string, reporter: Reporter, signal: AbortSignal): Promise<void> {
  for (let waited = 0; ; waited++) {
    const holder = lockHolder(folder);
    if (holder === undefined) return;
    if (waited === 4) reporter.line(`${folder} is still in use by process ${holder.pid}; waiting for it.`);
    await sleep(lookEveryMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** Largest share of a running member that counts as done, by its time. */
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
