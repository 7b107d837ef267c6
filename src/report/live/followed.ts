/**
 * @file A watched run, read from its files: its verdict, computed again only after a change, and its progress (the phases,
 * the current one, and the time left).
 */
import { hasFinal } from '../../run/checkpoints.js';
import { algorithms } from '../../stage2/algorithm.js';
import { counted, formatSeconds } from '../../util/format.js';
import { mean } from '../../util/statistics.js';
import { remembered } from '../follow.js';
import type { RunRecord, SftRecord } from '../read.js';
import { judge, type Verdict } from '../verdict.js';
import { type Watched, watchRun } from './state.js';

/** A part of a run. */
export interface Phase {
  readonly name: string;
  readonly state: 'done' | 'now' | 'next';
  /** Units done, and all units; absent if a part is not counted. */
  readonly done?: number;
  readonly total?: number;
  /** `12 of 47 updates`. */
  readonly text: string;
}

interface Progress {
  readonly phases: readonly Phase[];
  /** Undefined while it cannot be estimated. */
  readonly secondsLeft?: number;
  /** What ends after this time, if not the run. */
  readonly leftOf?: string;
}

/** The current progress. Remembers the speed of stage 1 between calls. */
function progressOf(now: () => number = Date.now): (watched: Watched) => Progress {
  let firstSeen: { readonly done: number; readonly atMs: number } | undefined;
  return ({ run, path, quietMs }) => {
    if (run === undefined) return { phases: [] };
    if (run.command === 'sft') return sftProgress(run.record, quietMs);
    const { stage1 } = run.record;
    const changedMs = now() - quietMs;
    if (stage1 === undefined || stage1.done < (firstSeen?.done ?? 0)) firstSeen = undefined;
    else firstSeen ??= { done: stage1.done, atMs: changedMs };
    const sampled = stage1 && firstSeen && stage1.done - firstSeen.done;
    const secondsEach = sampled ? (changedMs - firstSeen!.atMs) / 1000 / sampled : undefined;
    return trainProgress(run.record, { hasModel: hasFinal(path), quietMs, secondsEach });
  };
}

interface Observed {
  readonly hasModel: boolean;
  readonly quietMs: number;
  /** Seconds that stage 1 takes for a problem; undefined while unknown. */
  readonly secondsEach: number | undefined;
}

function trainProgress(run: RunRecord, { hasModel, quietMs, secondsEach }: Observed): Progress {
  const { stored, problems, before, after, stage1, steps, timings, plannedUpdates: planned } = run;
  const made = steps.at(-1)?.step ?? 0;
  const isSampled = stage1 !== undefined && stage1.done === stage1.total;
  const isTrained = after !== undefined || hasModel || (planned !== undefined && made >= planned);
  const seconds = (phase: string) => timed(timings.phases.get(phase));
  const parts: Part[] = [
    { name: 'Evaluation before', isDone: before !== undefined, text: seconds('eval-before') },
    ...(algorithms[stored.options.algo].hasStage1
      ? [
          {
            name: 'Stage 1',
            isDone: isSampled,
            done: stage1?.done ?? 0,
            total: problems.train.length,
            unit: 'problem',
            text: seconds('stage1'),
          },
        ]
      : []),
    {
      name: 'Stage 2',
      isDone: isTrained,
      ...countedUpdates(made, planned),
      text: timed(sum(timings.updates)),
    },
    { name: 'Evaluation after', isDone: after !== undefined, text: seconds('eval-after') },
  ];
  const phases = inOrder(parts);
  const current = phases.find(({ state }) => state === 'now')?.name;
  const evaluation = timings.phases.get('eval-before');
  const quiet = quietMs / 1000;
  const left = (value: number, leftOf?: string): Progress => ({
    phases,
    secondsLeft: Math.max(0, value),
    ...(leftOf !== undefined && { leftOf }),
  });
  if (current === 'Stage 1' && stage1 && secondsEach) {
    return left((stage1.total - stage1.done) * secondsEach - quiet, 'stage 1');
  }
  if (current === 'Stage 2' && planned !== undefined) {
    const each = secondsOfUpdate(timings.updates);
    if (each !== undefined) return left((planned - made) * each - Math.min(quiet, each) + (evaluation ?? 0));
  }
  if (current === 'Evaluation after' && evaluation !== undefined) return left(evaluation - quiet);
  return { phases };
}

function sftProgress(run: SftRecord, quietMs: number): Progress {
  const { stored, before, after, isFinished, steps, timings } = run;
  const made = steps.at(-1)?.step ?? 0;
  const planned = stored.updates ?? (isFinished ? made : undefined);
  const text = (phase: string) => timed(timings.phases.get(phase));
  // A run without held-out lines measures nothing.
  const measures = before !== undefined || made === 0;
  const phases = inOrder([
    ...(measures ? [{ name: 'Loss before', isDone: before !== undefined, text: text('eval-before') }] : []),
    {
      name: 'Training',
      isDone: isFinished,
      ...countedUpdates(made, planned),
      text: timed(sum(timings.updates)),
    },
    ...(measures ? [{ name: 'Loss after', isDone: after !== undefined, text: text('eval-after') }] : []),
  ]);
  const evaluation = timings.phases.get('eval-before') ?? 0;
  const quiet = quietMs / 1000;
  const each = secondsOfUpdate(timings.updates);
  if (isFinished) return { phases, secondsLeft: Math.max(0, evaluation - quiet) };
  if (planned === undefined || each === undefined) return { phases };
  return { phases, secondsLeft: Math.max(0, (planned - made) * each - Math.min(quiet, each) + evaluation) };
}

interface Part {
  readonly name: string;
  readonly isDone: boolean;
  readonly done?: number;
  readonly total?: number;
  readonly unit?: string;
  /** How long it took. */
  readonly text: string;
}

function countedUpdates(done: number, total: number | undefined): Pick<Part, 'done' | 'total' | 'unit'> {
  return { done, ...(total !== undefined && { total }), unit: 'update' };
}

/** The first part that is not done is the current one. */
function inOrder(parts: readonly Part[]): Phase[] {
  const at = parts.findIndex(({ isDone }) => !isDone);
  return parts.map(({ name, isDone, done, total, unit = '', text }, i) => {
    const state = isDone ? 'done' : i === at ? 'now' : 'next';
    const count =
      done === undefined ? '' : total === undefined ? counted(done, unit) : `${done} of ${counted(total, unit)}`;
    if (state === 'next') return { name, state, text: '' };
    if (state === 'done')
      return { name, state, text: [total && counted(total, unit), text].filter(Boolean).join(', ') };
    return {
      name,
      state,
      text: count || 'under way',
      ...(done !== undefined && { done }),
      ...(total !== undefined && { total }),
    };
  });
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const timed = (seconds: number | undefined) => (seconds ? formatSeconds(Math.max(1, seconds)) : '');

/** Number of updates from which the speed is estimated. */
const recentUpdates = 100;

/** Undefined before the second update: the first also compiles. */
function secondsOfUpdate(updates: readonly number[]): number | undefined {
  const warm = updates.slice(Math.ceil(updates.length / 4)).slice(-recentUpdates);
  return updates.length < 2 ? undefined : mean(warm);
}

export interface Followed {
  readonly watched: Watched;
  readonly progress: Progress;
  /** Of a run of `train`. */
  readonly verdict: Verdict | undefined;
}

/** Reads the run in `folder` at each call. */
export function followRunIn(folder: string): () => Followed {
  const look = watchRun(folder);
  const progress = progressOf();
  let record: RunRecord | undefined;
  // Called with the parts of the record that matter, which are the same objects until they change.
  const verdict = remembered((..._: readonly unknown[]) => record && judge(record));
  return () => {
    const watched = look();
    record = watched.run?.command === 'train' ? watched.run.record : undefined;
    return {
      watched,
      progress: progress(watched),
      verdict: verdict(record?.before, record?.after, record?.stage1, record?.steps),
    };
  };
}

/** `Stage 2: 12 of 47 updates`. */
export function headline({ watched, progress, verdict }: Followed): string {
  const { state, run, holder } = watched;
  if (state === 'finished') return verdict?.sentence ?? 'The run is finished';
  if (state === 'gone') return 'The folder of the run is gone';
  if (run === undefined) return holder === undefined ? 'There is no run here yet' : 'The run is starting';
  const current = progress.phases.find(({ state: at }) => at === 'now');
  const where = current === undefined ? 'Saving' : `${current.name}: ${current.text}`;
  return state === 'stopped' ? `Stopped in ${where.charAt(0).toLowerCase()}${where.slice(1)}` : where;
}
