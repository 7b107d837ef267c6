/** @file What the processes of the fuzz campaign tell each other, and what counts as a finding. */
import { readFileSync } from 'node:fs';

export const limits = {
  hangMs: 5000,
  bytes: 1e9,
  /**
   * A hang hangs every time. A machine that stands still, or leaves a thread for which the attempt waits without a processor
   * (`starvedMs` knows the main thread's loss alone), does so now and then: only this many long tries in a row count.
   */
  tries: 5,
} as const;

/**
 * Milliseconds for which a process was ready to run but had no processor, since other processes did: no fault of its own. 0 where the
 * system does not say (it is Linux that does).
 */
export function starvedMs(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

/** In a process's folder: the seed that it is at. */
export const seedFile = 'seed';

export interface Finding {
  readonly seed: number;
  readonly what: 'stack' | 'hang' | 'memory' | 'crash';
  readonly text: string;
}

/** What happened since the last report, up to and including `seed`. */
export interface Progress {
  seed: number;
  succeeded: number;
  refused: number;
  findings: Finding[];
  longestMs: number;
  peakBytes: number;
}
