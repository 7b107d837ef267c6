/**
 * @file How long work will still take, from how fast it went of late. The first steps of work are often its slowest (functions are
 * compiled, caches filled), and its pace drifts; so its first quarter does not count.
 */

export interface TimeLeft {
  /** So much of the work is done now, of what is now thought to be all of it. */
  reached(done: number, total: number): void;
  /** Seconds until all of it is done; undefined while too little is done to tell. */
  seconds(): number | undefined;
}

/** From less of the work than this nothing can be foretold. */
const minShare = 0.05;
/** What is done within this time is done at one moment: completions, for one, end in bursts. */
const momentMs = 20;

interface Point {
  readonly ms: number;
  readonly done: number;
}

/** @param now a clock in milliseconds. */
export function timeLeft(now: () => number = () => performance.now()): TimeLeft {
  /** How much was done, and when; both grow from one to the next. */
  const points: Point[] = [];
  /** The latest point at which at most a quarter of what is done now was done. */
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
      // Between two points time goes on, but not for longer than from one to the next: then the work is slower than thought.
      const since = Math.min(now() - last.ms, (last.ms - from.ms) / (points.length - 1 - quarter));
      return Math.max(0, (all - last.done) * msEach - since) / 1000;
    },
  };
}
