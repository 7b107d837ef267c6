/**
 * @file Reads the folder of a run of `sft` into a plain record for its report, finished or not. Writes nothing and takes no
 * lock.
 */
import { basename, join, resolve } from 'node:path';
import type { TokenLoss } from '../../policy/row-loss.js';
import { requireRun, runFiles } from '../../run/folder.js';
import type { SftMetrics } from '../../run/sft/events.js';
import { readLoss, readSftRun, type StoredSft } from '../../run/sft/record.js';
import { UserError } from '../../util/errors.js';
import { check, integer, number, object, optional } from '../../util/schema.js';
import { type Collector, followFile, followLog, type Part } from '../follow.js';
import { type TimingsRecord, timingRecords } from '../log-records.js';
import { noTimings, tolerating } from '../read.js';

export interface SftRecord {
  /** Name of the folder, without its path. */
  readonly name: string;
  readonly path: string;
  readonly stored: StoredSft;
  readonly before: TokenLoss | undefined;
  readonly after: TokenLoss | undefined;
  readonly isFinished: boolean;
  readonly steps: readonly SftMetrics[];
  readonly timings: TimingsRecord;
}

/** @throws UserError when the folder holds no run, or a file in it is damaged. */
export function readSftRecord(path: string): SftRecord {
  requireRun(path);
  const record = followSft(path)();
  if (record === undefined) throw new UserError(`${path} was removed while it was read.`);
  return record;
}

/** As {@link followRun} of read.ts, for a run of `sft`. */
export function followSft(path: string, onDamage?: (error: UserError) => void): Part<SftRecord | undefined> {
  const file = (name: keyof typeof runFiles) => join(path, runFiles[name]);
  const whole = <T>(name: keyof typeof runFiles, read: (path: string) => T) =>
    tolerating<T | undefined>(followFile(file(name), read), onDamage);
  const config = whole('config', readSftRun);
  const losses = [whole('evalBefore', readLoss), whole('evalAfter', readLoss)] as const;
  const isFinished = whole('finalChecksums', () => true);
  const updates = followLog(file('metrics'), () => stepRecords(file('metrics')));
  const steps = tolerating<readonly SftMetrics[] | undefined>(updates.read, onDamage);
  const times = followLog(file('timings'), () => timingRecords(file('timings')));
  const timings = tolerating<TimingsRecord | undefined>(times.read, onDamage);
  return () => {
    const stored = config();
    if (stored === undefined) return undefined;
    return {
      name: basename(resolve(path)),
      path,
      stored,
      before: losses[0](),
      after: losses[1](),
      isFinished: isFinished() ?? false,
      steps: steps() ?? [],
      timings: timings() ?? noTimings,
    };
  };
}

const stepShape = object({
  step: integer({ min: 1 }),
  epoch: integer({ min: 0 }),
  loss: number(),
  tokens: integer({ min: 1 }),
  trainedTokens: integer({ min: 1 }),
  gradientNorm: number(),
  learningRate: number(),
  heldOutLoss: optional(number()),
});

function stepRecords(path: string): Collector<readonly SftMetrics[]> {
  const source = { path, what: "a run's log of updates" };
  const steps: SftMetrics[] = [];
  return {
    add(line, at) {
      const { heldOutLoss, ...step } = check(stepShape, line, source, `line ${at}`);
      steps.push({ ...step, ...(heldOutLoss !== undefined && { heldOutLoss }) });
    },
    value: () => [...steps],
  };
}
