/** @file The JSON record of bench/scaling.ts: its form, and reading it from the saved output of a run. */
import { readFileSync } from 'node:fs';
import { UserError } from '../src/util/errors.js';
import { parseJsonRecord } from '../src/util/json.js';
import type { JobSize } from './jobs.js';

export interface ScalingRecord {
  readonly processor: string | undefined;
  readonly cores: number;
  /** Runs per point; figures are medians. */
  readonly rounds: number;
  readonly base: JobSize;
  /** The base first. */
  readonly points: readonly ScalingPoint[];
}

export interface ScalingPoint {
  /** The quantity that grows; everything else equals the base. */
  readonly axis: 'base' | 'problems' | 'samples' | 'newTokens' | 'parameters';
  /** The growth factor relative to the base. */
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

/** Reads the record. @throws UserError when the last line of the file is not one. */
export function readRecord(path: string): ScalingRecord {
  const fix = 'Expected a file with the output of npm run bench:scaling, or with its last line.';
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
