/**
 * @file Stage 1 alone, for the command and the library: draws the samples that a V* file lacks, saving after each group; or takes
 * V* from the rewards of samples that another program drew.
 */
import { existsSync } from 'node:fs';
import type { Problem } from '../data/problem.js';
import { readSampleRewards } from '../data/sample-rewards.js';
import type { TaskApi } from '../data/task-file.js';
import type { EngineSetting } from '../engine/choices.js';
import { fingerprintModel } from '../model/checkpoint/pretrained.js';
import { openModel } from '../model/open.js';
import { builtinModel } from '../model/shipped.js';
import { openProblems } from '../options/problems.js';
import type { TrainingOptions } from '../options/settings.js';
import { estimate } from '../stage1/estimate.js';
import { requireFingerprint, requireSameSampler } from '../stage1/fingerprint.js';
import { deriveVStar, readVStarFile, type Shards, type VStarFile, writeVStarFile } from '../stage1/v-star-file.js';
import { exitCodes, UserError } from '../util/errors.js';
import { quote } from '../util/json.js';
import { packageVersion } from '../util/machine.js';
import type { Reporter } from '../util/reporter.js';
import { type Job, withJob, withSampler } from './job.js';

export interface EstimateRequest {
  readonly options: TrainingOptions;
  readonly engine: EngineSetting;
  readonly install: boolean;
  readonly taskApi: TaskApi;
  /** Saved after each group of problems; an existing file is resumed. Absent: nothing is written. */
  readonly out?: string | undefined;
  /** `i/n`: only the i-th of n parts of the problems. */
  readonly shard?: string | undefined;
}

/** @throws UserError when `out` has other settings or `shard` is invalid; with exit code 130 when interrupted. */
export async function estimateVStar(
  { options, engine, install, taskApi, out, shard }: EstimateRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<VStarFile> {
  try {
    return await withJob({ options, engineRequest: { engine, install }, reporter, signal, taskApi }, (job) =>
      sampled(job, shardOf(job.problems.train, shard), out, reporter, signal),
    );
  } catch (error) {
    if (!signal.aborted || out === undefined || !existsSync(out)) throw error;
    const fix = `Run the same command again to resume; ${out} holds every finished problem.`;
    throw new UserError({ problem: 'Stopped.', fix }, { exitCode: exitCodes.interrupted, cause: error });
  }
}

async function sampled(
  job: Job,
  { problems, shards }: { readonly problems: readonly Problem[]; readonly shards: Shards },
  out: string | undefined,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<VStarFile> {
  const start = startingFile(job, shards, out, reporter);
  return await withSampler({ ...job, pretrained: job.reference }, problems, (kit) =>
    estimate(kit, problems, start, {
      signal,
      reporter,
      onGroup: (known) => {
        if (out !== undefined) writeVStarFile(out, known);
      },
    }),
  );
}

function startingFile(job: Job, shards: Shards, out: string | undefined, reporter: Reporter): VStarFile {
  const { beta1, numSamples: samples } = job.settings;
  if (out === undefined || !existsSync(out)) return { ...job.vStar, shards };
  const found = readVStarFile(out);
  requireFingerprint(out, found, job.fingerprint);
  requireSameSampler(out, found, job.fingerprint);
  // Earlier versions did not count the problems of an undivided file.
  const stored = found.shards ?? (shards.of === 1 ? shards : undefined);
  if (JSON.stringify(stored) !== JSON.stringify(shards)) {
    const name = (value: Shards | undefined) =>
      value === undefined || value.of === 1 ? 'all problems' : `shard ${value.have.join(', ')} of ${value.of}`;
    throw new UserError({
      problem: `${out} is for other problems.`,
      expected: name(shards),
      found: name(found.shards),
      fix: 'Choose another --out.',
    });
  }
  reporter.line(`Resuming ${out}.`);
  // Sample i does not depend on the number of samples, so more samples only add to the existing ones.
  return found.samples > samples ? deriveVStar(out, found, { beta1, samples }) : { ...found, beta1, samples, shards };
}

/** Every n-th problem, so that all shards take about the same time. */
function shardOf<T>(
  problems: readonly T[],
  shard: string | undefined,
): { readonly problems: readonly T[]; readonly shards: Shards } {
  if (shard === undefined) return { problems, shards: { of: 1, have: [1], problems: problems.length } };
  const [, i, n] = /^(\d{1,6})\/(\d{1,6})$/.exec(shard)?.map(Number) ?? [];
  if (i === undefined || n === undefined || i < 1 || i > n || n > problems.length) {
    throw new UserError(
      { problem: `--shard: expected i/n with 1 <= i <= n <= ${problems.length}, found '${shard}'.` },
      { exitCode: exitCodes.usage },
    );
  }
  const own = problems.filter((_, index) => index % n === i - 1);
  return { problems: own, shards: { of: n, have: [i], problems: own.length } };
}

/**
 * V* from the rewards of samples that another program drew, in the columns `eval_0`, `eval_1` and so on of `--problems`.
 * The result covers the training problems of a run with these options and is bound to the options, so `train --v-star`
 * accepts the file. The samples are assumed to be the reference's, at the options' temperature and token limit.
 *
 * @throws UserError when the table lacks a column or a training problem.
 */
export async function importVStar(
  { options, taskApi }: Pick<EstimateRequest, 'options' | 'taskApi'>,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<VStarFile> {
  const model = await openModel(options.model ?? builtinModel, reporter, signal);
  const reference = options.reference === undefined ? model : await openModel(options.reference, reporter, signal);
  try {
    const { settings, problems, sampledWith, source } = await openProblems(options, model, {
      taskApi,
      reporter,
      signal,
    });
    if (source === undefined) {
      throw new UserError(
        {
          problem: '--problems is missing: it names the table with the rewards.',
          expected: 'a file or a dataset of the hub with the columns prompt, answer, eval_0, eval_1 and so on',
        },
        { exitCode: exitCodes.usage },
      );
    }
    for (const note of problems.notes) reporter.line(note);
    const { beta1, numSamples: samples } = settings;
    const rewards = await readSampleRewards(source, samples);
    const missing = problems.train.find(({ id }) => !rewards.has(id));
    if (missing !== undefined) throw new UserError(`${source.name} has no row for the problem ${quote(missing.id)}.`);
    return {
      createdBy: `tinyzero ${packageVersion()}, from eval_0 to eval_${samples - 1} of ${source.name}`,
      fingerprint: { model: fingerprintModel(reference.pretrained), ...sampledWith },
      beta1,
      samples,
      entries: new Map(
        problems.train.map(({ id }) => {
          const own = rewards.get(id)!;
          const unknown = { parsed: [], truncated: [], lengths: [], texts: [] };
          return [id, { rewards: own, exact: own.map((reward) => reward === 1), ...unknown }];
        }),
      ),
    };
  } finally {
    model.pretrained.weights.close();
    if (reference !== model) reference.pretrained.weights.close();
  }
}
