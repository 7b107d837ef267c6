/**
 * @file Stage 1 alone, for the command and the library: the samples that a V* file lacks are drawn, and the file is written
 * after each group.
 */

import { existsSync } from 'node:fs';
import type { Problem } from '../data/problem.js';
import type { TaskApi } from '../data/task-file.js';
import type { EngineSetting } from '../engine/choices.js';
import type { TrainingOptions } from '../options/settings.js';
import { estimate } from '../stage1/estimate.js';
import {
  deriveVStar,
  readVStarFile,
  requireFingerprint,
  type VStarFile,
  writeVStarFile,
} from '../stage1/v-star-file.js';
import { exitCodes, UserError } from '../util/errors.js';
import type { Reporter } from '../util/reporter.js';
import { packageVersion } from '../util/version.js';
import { explainWrites } from '../util/write.js';
import { type Job, openJob, openPolicy } from './job.js';

export interface EstimateRequest {
  readonly options: TrainingOptions;
  readonly engine: EngineSetting;
  readonly install: boolean;
  readonly taskApi: TaskApi;
  /** Written after each group of problems, and gone on with where it is there. Absent: nothing is written. */
  readonly out?: string | undefined;
  /** `i/n`: only the i-th of n parts of the problems. */
  readonly shard?: string | undefined;
}

/** @throws UserError when `out` is of something else, or `shard` cannot be had; with exit code 130 when it is stopped. */
export async function estimateVStar(
  { options, engine, install, taskApi, out, shard }: EstimateRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<VStarFile> {
  const job = await openJob({ options, engineRequest: { engine, install }, reporter, signal, taskApi });
  try {
    return await sampled(job, inShard(job.problems.train, shard), out, reporter, signal);
  } catch (error) {
    if (!signal.aborted || out === undefined || !existsSync(out)) throw error;
    const fix = `The same command goes on with ${out}, which has every problem that was finished.`;
    throw new UserError({ problem: 'Stopped.', fix }, { exitCode: exitCodes.interrupted, cause: error });
  } finally {
    job.close();
  }
}

async function sampled(
  job: Job,
  problems: readonly Problem[],
  out: string | undefined,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<VStarFile> {
  const start = startingFile(job, out, reporter);
  const { policy, kit } = openPolicy(job, problems);
  try {
    if (job.reference !== job.pretrained) policy.load(job.reference.weights.read);
    return await estimate(kit, problems, start, {
      signal,
      reporter,
      onGroup: (known) => {
        if (out !== undefined) explainWrites(out, () => writeVStarFile(out, known));
      },
    });
  } finally {
    policy.dispose();
  }
}

function startingFile({ fingerprint, settings }: Job, out: string | undefined, reporter: Reporter): VStarFile {
  const { beta1, numSamples: samples } = settings;
  if (out === undefined || !existsSync(out)) {
    return { createdBy: `tinyzero ${packageVersion()}`, fingerprint, beta1, samples, entries: new Map() };
  }
  const found = readVStarFile(out);
  requireFingerprint(out, found, fingerprint);
  reporter.line(`Going on with ${out}.`);
  // Sample i is the same whatever their number, so more of them only add to those that are there.
  return found.samples > samples ? deriveVStar(out, found, { beta1, samples }) : { ...found, beta1, samples };
}

/** Every n-th problem, so that the parts take about equally long. */
function inShard<T>(problems: readonly T[], shard: string | undefined): readonly T[] {
  if (shard === undefined) return problems;
  const [, i, n] = /^(\d{1,6})\/(\d{1,6})$/.exec(shard)?.map(Number) ?? [];
  if (i === undefined || n === undefined || i < 1 || i > n || n > problems.length) {
    throw new UserError(
      { problem: `--shard: expected i/n with 1 <= i <= n <= ${problems.length}, found '${shard}'.` },
      { exitCode: exitCodes.usage },
    );
  }
  return problems.filter((_, index) => index % n === i - 1);
}
