/** @file How many runs of a set run side by side: `--parallel N`, or as many as processors and memory allow. */
import { availableParallelism } from 'node:os';
import type { Needs } from '../../run/needs.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { formatBytes } from '../../util/format.js';

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
    [runs, 'no more runs'],
  ];
  const [count, reason] = limits.reduce((least, limit) => (limit[0] < least[0] ? limit : least));
  return { count, reason, threads: threadsFor(count) };
}
