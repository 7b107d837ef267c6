/**
 * @file Estimates the time left from the recent speed of the work. The first steps are often the slowest (functions are
 * compiled, caches filled) and the speed drifts, so the first quarter of the work done is ignored.
 */

export interface TimeLeft {
  /** Records the work done so far and the current estimate of the total. */
  reached(done: number, total: number): void;
  /** Seconds until the work is done; undefined while too little is done for an estimate. */
  seconds(): number | undefined;
}

/** Share of the work below which there is no estimate. */
const minShare = 0.05;
/** Progress within this time counts as one event, since completions end in bursts. */
const momentMs = 20;

interface Point {
  readonly ms: number;
  readonly done: number;
}

/** @param now a clock in milliseconds. */
export function timeLeft(now: () => number = () => performance.now()): TimeLeft {
  /** Work done and time of each event, both increasing. */
  const points: Point[] = [];
  /** Index of the last event with at most a quarter of the work done so far. */
  let quarter = 0;
  let all = 0;
  return {
    reached(done, total) {
      all = total;
      const ms = now();
      const last = points.at(-1);
      if (last !== undefined && done <= last.done) return;
      const sameMoment = last !== undefined && points.length > 1 && ms - last.ms < momentMs;
      if (sameMoment) points[points.length - 1] = { ms: last.ms, done };
      else points.push({ ms, done });
      const begin = points[0]!.done;
      while (quarter + 1 < points.length && points[quarter + 1]!.done - begin <= (done - begin) / 4) quarter += 1;
    },
    seconds() {
      const begin = points[0];
      const last = points.at(-1);
      if (begin === undefined || last === undefined) return undefined;
      if (last.done - begin.done < minShare * (all - begin.done)) return undefined;
      const from = points[quarter]!;
      const msEach = (last.ms - from.ms) / (last.done - from.done);
      // Time passes between events, but after more than the usual interval the work is slower than estimated.
      const since = Math.min(now() - last.ms, (last.ms - from.ms) / (points.length - 1 - quarter));
      return Math.max(0, (all - last.done) * msEach - since) / 1000;
    },
  };
}
