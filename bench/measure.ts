/** @file Shared by the benchmarks: medians, clocks, runs of the program, and cheap random numbers for arbitrary values. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The program's entry. */
export const cli = fileURLToPath(new URL('../src/cli.js', import.meta.url));

export interface ProgramRun {
  readonly code: number | null;
  readonly seconds: number;
  /** VmHWM of the process. */
  readonly peakBytes: number;
}

/** Runs the program with these arguments to its end. */
export function runProgram(args: readonly string[]): Promise<ProgramRun> {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
    let peakBytes = 0;
    const timer = setInterval(() => {
      const path = `/proc/${child.pid}/status`;
      const status = existsSync(path) ? readFileSync(path, 'utf8') : '';
      peakBytes = Math.max(peakBytes, 1024 * Number(/^VmHWM:\s*(\d+)/m.exec(status)?.[1] ?? 0));
    }, 50);
    child.on('error', reject);
    child.on('close', (code) => {
      clearInterval(timer);
      resolve({ code, seconds: (performance.now() - began) / 1000, peakBytes });
    });
  });
}

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
