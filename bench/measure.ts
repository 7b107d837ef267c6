/** @file Shared by the benchmarks: medians, clocks, and cheap random numbers for arbitrary values. */

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle]!;
  return sorted.length % 2 === 1 ? upper : (sorted[middle - 1]! + upper) / 2;
}

/** A linear congruential generator (Numerical Recipes): fast, the same everywhere, good enough to fill matrices. */
export function seededUniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Seconds since the start of this process, given by `BENCH_STARTED` (seconds since the epoch), which side.ts sets. */
export function sinceStart(): number {
  const started = Number(process.env.BENCH_STARTED ?? performance.timeOrigin / 1000);
  return Date.now() / 1000 - started;
}
