/**
 * @file Plans a job from its settings: the verdict on the samples of stage 1, the rollouts of every update, the
 * learning-rate schedule, and the sizes and training of the policy. Uses neither files nor Node, since a page plans with it
 * too.
 */
import type { Problem, ProblemSet } from '../../data/problem.js';
import type { Schedule } from '../../engine/optim/settings.js';
import { type Settings, warmupSteps } from '../../options/settings.js';
import type { PolicySizes, TrainingOptions } from '../../policy/policy.js';
import { promptIds, type RolloutKit } from '../../policy/rollout.js';
import { type Preflight, preflight } from '../../stage1/preflight.js';
import type { Probe } from '../../stage1/probe-file.js';
import { trainedRows } from '../../stage1/trained-problems.js';
import type { Samples } from '../../stage1/v-star-file.js';
import { type Algorithm, algorithms } from '../../stage2/algorithm.js';
import { planBatches, plannedRollouts, plannedUpdates, type Visit } from '../../stage2/plan.js';
import { UserError } from '../../util/errors.js';
import { keyedRandom } from '../../util/random.js';

/** The parts of a job that its plan depends on. */
export interface PlannedJob {
  readonly settings: Settings;
  readonly problems: Pick<ProblemSet, 'train' | 'rows'>;
}

/** The rows that stage 2 trains on. */
export function rowsOf({ settings, problems }: PlannedJob, vStar: Samples | undefined): Problem[] {
  const { trainOn, curriculum, seed } = settings;
  const entryOf = (index: number) => vStar?.entries.get(problems.train[index]!.id);
  const random = () => keyedRandom(seed, 'curriculum');
  return trainedRows(problems.rows, entryOf, { trainOn, curriculum, random }).map((index) => problems.train[index]!);
}

/** The rollouts of every update. @throws UserError when no problem is left to train on. */
export function planOf({ settings, problems }: PlannedJob, rows: readonly Problem[]): Visit[][] {
  const algorithm: Algorithm = algorithms[settings.algo];
  if (rows.length === 0) {
    throw new UserError({
      problem: `No problem is left to train on with --train-on ${settings.trainOn}.`,
      fix: 'Train on all of them with --train-on all, or choose easier problems.',
    });
  }
  return planBatches(rows, {
    seed: settings.seed,
    batchSize: settings.batchSize,
    groupSize: algorithm.groupSize(settings),
    rollouts: plannedRollouts(settings, { rows: rows.length, problems: problems.train.length }),
  }).slice(0, settings.maxSteps);
}

/** The learning-rate schedule over `updates`. */
export function scheduleOf(settings: Settings, updates: number): Schedule {
  const cosine = { steps: updates, floor: settings.decayTo };
  return { peak: settings.lr, warmupSteps: warmupSteps(settings, updates), cosine };
}

/** Whether these samples, one entry for each training problem, can teach anything. */
export function judgeSamples(job: PlannedJob, file: Samples, probe: Probe): Preflight {
  const { settings, problems } = job;
  const entries = problems.train.map(({ id }) => file.entries.get(id)!);
  const updates = plannedUpdates(settings, { rows: rowsOf(job, file).length, problems: entries.length });
  const plan = { updates, warmup: warmupSteps(settings, updates), batchSize: settings.batchSize };
  return preflight(entries, { ...settings, plan, probe });
}

/** How a policy is trained. */
export function policyTraining(settings: Settings): TrainingOptions {
  const { batchSize, microBatch, lora, freeze, seed, optimizer, maxGradientNorm } = settings;
  const algorithm: Algorithm = algorithms[settings.algo];
  return {
    batchSize,
    microBatch,
    lora,
    freeze,
    seed,
    optimizer,
    maxGradientNorm,
    loss: (arithmetic, row) => algorithm.loss(arithmetic, row, settings),
    anchor: algorithm.anchor,
    addsValue: algorithm.addsValue,
    scores: algorithm.tracksValues,
  };
}

/**
 * Rollouts decoded at once, memory permitting. With the built-in model on 2 cores, 4,000 rollouts of 32 tokens take 1.5 s
 * with 128 slots and 1.3 s with 256 or 512 (docs/log.md).
 */
const defaultSlots = 256;

/** Sizes of a policy that completes `problems`. */
export function policySizes(
  {
    maxNewTokens,
    numSamples,
    evalSamples,
    samplerUrl,
  }: Pick<Settings, 'maxNewTokens' | 'numSamples' | 'evalSamples' | 'samplerUrl'>,
  prompts: Pick<RolloutKit, 'tokenizer' | 'form'>,
  problems: readonly Problem[],
  training?: Pick<TrainingOptions, 'batchSize'>,
): PolicySizes {
  const ids = problems.map((problem) => promptIds(prompts, problem));
  return {
    promptLengths: ids.map(({ length }) => length),
    sharedPrefix: sharedPrefix(ids),
    maxNewTokens,
    batch: training?.batchSize,
    // At most as many as are ever sampled at once; 1, the minimum, if a server samples.
    slots:
      samplerUrl !== undefined
        ? 1
        : Math.max(
            Math.min(defaultSlots, problems.length * Math.max(numSamples, evalSamples, 1)),
            training?.batchSize ?? 0,
          ),
  };
}

/** Number of leading tokens that all prompts share. Every prompt has at least one more. */
function sharedPrefix([first = [], ...others]: readonly (readonly number[])[]): number {
  let length = first.length - 1;
  for (const ids of others) {
    const differs = ids.findIndex((id, i) => id !== first[i]);
    length = Math.min(length, ids.length - 1, differs < 0 ? ids.length : differs);
  }
  return Math.max(0, length);
}
