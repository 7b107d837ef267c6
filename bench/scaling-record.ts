/** @file The JSON of bench/scaling.ts: its form, and reading it back from the saved output of a run. */
import { readFileSync } from 'node:fs';
import { UserError } from '../src/util/errors.js';
import { parseJsonRecord } from '../src/util/json.js';
import type { JobSize } from './jobs.js';

export interface ScalingRecord {
  readonly processor: string | undefined;
  readonly cores: number;
  /** Runs of each point; its figures are their medians. */
  readonly rounds: number;
  readonly base: JobSize;
  /** The base first. */
  readonly points: readonly ScalingPoint[];
}

export interface ScalingPoint {
  /** What grows, everything else being that of the base. */
  readonly axis: 'base' | 'problems' | 'samples' | 'newTokens' | 'parameters';
  /** How many times as much of it as in the base. */
  readonly factor: number;
  readonly parameters: number;
  /** Of the whole process. */
  readonly seconds: number;
  /** Seconds by phase. */
  readonly phases: Readonly<Record<string, number>>;
  readonly cpuSeconds: number;
  /** In 10^6 bytes. */
  readonly peakMegabytes: number;
}

/** @throws UserError when the last line of the file is not such a record. */
export function readRecord(path: string): ScalingRecord {
  const fix = 'Give the saved output of npm run bench:scaling, or its last line.';
  const source = `The last line of ${path}`;
  const record = parseJsonRecord(Buffer.from(readFileSync(path, 'utf8').trim().split('\n').at(-1)!), source, fix);
  const { points } = record;
  if (!Array.isArray(points) || points[0]?.axis !== 'base') {
    throw new UserError({
      problem: `${source} has no points.`,
      expected: '`points`, the base first',
      found: Object.keys(record).join(', '),
      fix,
    });
  }
  return record as unknown as ScalingRecord;
}
