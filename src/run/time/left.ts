/**
 * @file The time that a run has left at the verdict between the stages, from the sampling that it has done. Its updates have not
 * begun, so their speed follows from that of sampling.
 */
import type { Engine } from '../../engine/backend.js';
import type { EvalSummary } from '../../policy/eval-summary.js';
import type { Preflight } from '../../stage1/preflight.js';
import type { VStarEntry, VStarFile } from '../../stage1/v-star-file.js';
import type { Job } from '../job.js';
import { samplingSeconds, type TimedWork } from './plan.js';
import { evaluationSeconds, policyWork, stage2Parts, type TimedJob, totalSeconds } from './work.js';

/** Completions that the run has sampled, and how long that took. */
interface SampledSoFar {
  readonly completions: number;
  readonly problems: number;
  readonly seconds: number;
}

/** A token of a pass takes as long as this many rows of a decoding step; as measured (docs/log.md). */
const rowsPerTrainedToken = 2;

/** The samples of every training problem, and how long those took that this process drew. */
export interface Estimated {
  readonly file: VStarFile;
  readonly drawn?: SampledSoFar;
}

/** The evaluation before training. `seconds`: absent when a resumed run does not know them. */
interface Evaluated {
  readonly summary: EvalSummary;
  readonly seconds: number | undefined;
}

/** Seconds that the run has left, from the sampling of stage 1, or else of the evaluation; undefined if it computes elsewhere. */
export function timeLeft(
  job: Job,
  { file, drawn }: Estimated,
  { summary, seconds }: Evaluated,
  { plan }: Preflight,
): number | undefined {
  const { engine } = job.engine;
  if (engine === undefined || job.server !== undefined || plan === undefined) return undefined;
  const problems = job.problems.test.length;
  const completions = problems * (1 + (summary.sampled?.samplesPerProblem ?? 0));
  const sampled = drawn ?? (seconds === undefined ? undefined : { completions, problems, seconds });
  return sampled && secondsLeft(engine, job, sampled, file.entries.values(), plan.updates);
}

/** Seconds of stage 2 and the evaluation after it, about. @param entries of stage 1. @param updates of stage 2. */
function secondsLeft(
  engine: Engine,
  job: TimedJob,
  { completions, problems, seconds }: SampledSoFar,
  entries: Iterable<VStarEntry>,
  updates: number,
): number {
  const { options, caches, shape } = policyWork(engine, job);
  const { slots } = caches;
  const ended = [...entries].flatMap(({ lengths }) => lengths);
  // In units of a step with all slots in use, half of which is fixed.
  const unit = { fixed: 0.5, perRow: 0.5 / slots };
  const idle = { openSampling: 0, openUpdates: 0, rest: 0, admit: 0 };
  const tokens = shape.sequences * shape.length;
  const work: TimedWork = {
    speed: { ...idle, step: unit, prefill: 1, pass: (rowsPerTrainedToken * tokens) / slots },
    caches,
    shape,
    maxNewTokens: options.sizes.maxNewTokens,
    lengths: ended.length === 0 ? undefined : { ended, running: [] },
  };
  const secondsEach = seconds / samplingSeconds(work, completions, problems);
  const { 'stage 2: checkpoints': saving = 0, ...computed } = stage2Parts(job, work, updates);
  return saving + secondsEach * (totalSeconds(computed) + evaluationSeconds(job, work));
}
