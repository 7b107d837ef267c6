/** @file What the processes of the fuzz campaign tell each other, and what counts as a finding. */

export const limits = { hangMs: 5000, bytes: 1e9 } as const;

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
