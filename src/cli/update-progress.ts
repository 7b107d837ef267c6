/**
 * @file Progress of a run's updates, for `train` and `sft`: a bar with curves below it, and at the end the time taken and the
 * curves as permanent lines.
 */
import { counted, formatSeconds } from '../util/format.js';
import type { Reporter, Work, WorkState } from '../util/reporter.js';
import { sparkline } from './terminal/sparkline.js';
import { columnsOf } from './terminal/width.js';

interface UpdateProgress<Metrics> {
  /** Resumes a run; `history` holds its updates so far. */
  resume(history: readonly Metrics[]): void;
  /** The first update that is not done starts; `updates`: of the whole run. */
  start(updates: number): void;
  /** An update has finished. `shown.note` is its line in a log. */
  add(metrics: Metrics, updates: number, shown: Pick<WorkState, 'after' | 'note'>): void;
  /** Removes the bar from the screen; called when the run ends or fails. */
  end(): void;
}

/** Most columns that the curves at the end take. */
const closingWidth = 79;

/** @param curves of the updates so far, as lines of at most `width` characters. */
export function updateProgress<Metrics>(
  reporter: Reporter,
  title: string,
  curves: (history: readonly Metrics[], width: number) => string[],
): UpdateProgress<Metrics> {
  const history: Metrics[] = [];
  let work: Work | undefined;
  let startMs = 0;
  let done = 0;

  const finish = (updates: number) => {
    work?.end();
    work = undefined;
    const made = done === 0 ? counted(updates, 'update') : `updates ${done + 1} to ${updates}`;
    reporter.line(`${title}: ${made} in ${formatSeconds((performance.now() - startMs) / 1000)}.`);
    for (const line of curves(history, Math.min(closingWidth, columnsOf(process.stderr)))) reporter.line(line);
  };

  return {
    resume(earlier) {
      history.push(...earlier);
      done = history.length;
      reporter.line(`Resuming after update ${done}.`);
    },
    start(updates) {
      startMs = performance.now();
      work = reporter.work(title, 'updates');
      work.update({ done, total: updates });
    },
    add(metrics, updates, shown) {
      history.push(metrics);
      work?.update({
        done: history.length,
        total: updates,
        ...shown,
        details: (width) => curves(history, width),
      });
      if (history.length === updates) finish(updates);
    },
    end: () => work?.end(),
  };
}

/** Narrower curves get a line of their own. */
const minCurveWidth = 10;

/** The first and the latest value, and a curve of `levels`, which are from 0 to 1: one line, or two if it is narrow. */
export function curveLines(
  name: string,
  [first, latest]: readonly [string, string],
  levels: readonly number[],
  width: number,
): string[] {
  const start = `  ${name.padEnd(17)} ${first.padStart(7)} -> ${latest.padStart(7)}`;
  const room = width - start.length - 2;
  if (room >= minCurveWidth) return [`${start}  ${sparkline(levels, room)}`];
  return [`  ${name} ${first} -> ${latest}`, `    ${sparkline(levels, width - 4)}`];
}
