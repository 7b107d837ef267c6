/**
 * @file A whole run in memory: the parts of train.ts in the same order, with the same samples, updates and numbers, but without files
 * and without Node. A page in a browser trains with it.
 */
import type { Problem, ProblemSet } from '../../data/problem.js';
import type { PromptForm } from '../../data/prompt.js';
import type { Task } from '../../data/task.js';
import type { ModelConfig } from '../../model/network/config.js';
import { type Settings, warmupSteps } from '../../options/settings.js';
import type { EvalSummary } from '../../policy/eval-summary.js';
import { evaluate, greedyAccuracy } from '../../policy/evaluate.js';
import type { ReadTensor } from '../../policy/layout.js';
import { createDeferredPolicy, type DeferredPolicy, type PolicyEngine } from '../../policy/policy.js';
import type { RolloutKit } from '../../policy/rollout.js';
import { estimate } from '../../stage1/estimate.js';
import type { Preflight } from '../../stage1/preflight.js';
import { probe, probeSize } from '../../stage1/probe.js';
import { type Samples, vStarOf } from '../../stage1/v-star-file.js';
import { type Algorithm, algorithms } from '../../stage2/algorithm.js';
import { samplerTolerance } from '../../stage2/checks.js';
import { freshProgress, type TrainedRollout, trainPolicy } from '../../stage2/loop.js';
import type { StepMetrics } from '../../stage2/step-metrics.js';
import { isFlat } from '../../stage2/step-metrics.js';
import { openTracker } from '../../stage2/value-tracker.js';
import { UserError } from '../../util/errors.js';
import type { Reporter } from '../../util/reporter.js';
import { judgeSamples, planOf, policySizes, policyTraining, rowsOf, scheduleOf } from './plan.js';

/** A run that is entirely in memory. Its reference is the model itself. */
export interface MemoryJob {
  readonly settings: Settings;
  readonly config: ModelConfig;
  readonly weights: ReadTensor;
  readonly tokenizer: RolloutKit['tokenizer'];
  readonly endIds: ReadonlySet<number>;
  readonly task: Task;
  readonly problems: ProblemSet;
  readonly form: PromptForm;
}

/** What happens in a run. */
export type MemoryEvent =
  | { readonly kind: 'evaluated'; readonly when: 'before' | 'after'; readonly summary: EvalSummary }
  /** After each group of problems: all samples so far. */
  | { readonly kind: 'sampled'; readonly samples: Samples }
  | { readonly kind: 'preflight'; readonly preflight: Preflight }
  | { readonly kind: 'stage2'; readonly updates: number }
  | { readonly kind: 'step'; readonly metrics: StepMetrics; readonly rollouts: readonly TrainedRollout[] };

export interface MemoryRunOptions {
  readonly onEvent: (event: MemoryEvent) => void;
  readonly reporter: Reporter;
  /** Awaited before every call of the sampler, so that a run can pause there. */
  readonly turn: () => Promise<void>;
  readonly signal: AbortSignal;
}

/** The evaluations of a run, and the updates between them. */
export interface MemoryResult {
  readonly before: EvalSummary;
  readonly after: EvalSummary;
  readonly updates: number;
}

/** A policy with the model's weights, for the problems of `job`. */
export function openMemoryPolicy(engine: PolicyEngine, job: MemoryJob): DeferredPolicy {
  const { settings, problems } = job;
  const training = policyTraining(settings);
  const all: Problem[] = [...problems.train, ...problems.test];
  const policy = createDeferredPolicy(engine, job.config, {
    sizes: policySizes(settings, job, all, training),
    training,
  });
  policy.load(job.weights);
  return policy;
}

/** Samples from the policy and grades the completions. */
export function memoryKit(
  { settings: { maxNewTokens, temperature, seed }, tokenizer, task, form, endIds }: MemoryJob,
  policy: Pick<DeferredPolicy, 'sample'>,
): RolloutKit {
  return { policy, tokenizer, task, form, endIds, maxNewTokens, temperature, seed };
}

/**
 * Evaluates, estimates V*, trains, and evaluates again.
 *
 * @param policy has the model's weights, and gets the trained ones.
 * @throws UserError when stage 1 finds nothing to learn; the signal's reason when it is aborted.
 */
export async function trainInMemory(
  job: MemoryJob,
  policy: DeferredPolicy,
  { onEvent, reporter, turn, signal }: MemoryRunOptions,
): Promise<MemoryResult> {
  const { settings, problems } = job;
  const algorithm: Algorithm = algorithms[settings.algo];
  const sample: DeferredPolicy['sample'] = async (rollouts, options) => {
    await turn();
    return await policy.sample(rollouts, options);
  };
  const kit = memoryKit(job, { sample });
  const evaluated = async (when: 'before' | 'after') => {
    const { model, algo, evalSamples: samples } = settings;
    const name = when === 'before' ? model : `${model} after ${algo}`;
    const summary = await evaluate(kit, problems.test, { model: name, samples, signal, reporter });
    onEvent({ kind: 'evaluated', when, summary });
    return summary;
  };

  const before = await evaluated('before');

  // Stage 1.
  const samples = algorithm.hasStage1 ? await sampled(job, kit, { onEvent, reporter, signal }) : undefined;

  // Stage 2.
  const rows = rowsOf(job, samples);
  const plan = planOf(job, rows);
  const ids = problems.train.map(({ id }) => id);
  const values = samples && vStarOf('stage 1', samples, ids);
  policy.loadMoments();
  policy.loadReference(job.weights);
  onEvent({ kind: 'stage2', updates: plan.length });
  const history: StepMetrics[] = [];
  const { stopWhenFlat: window, evalEvery } = settings;
  const after = warmupSteps(settings, plan.length);
  const { step: updates } = await trainPolicy({
    kit,
    policy,
    sampler: { sample, refresh: async () => {} },
    refreshEvery: 1,
    algorithm,
    settings,
    shuffleSeed: settings.control === 'none' ? undefined : settings.seed,
    plan,
    tolerance: samplerTolerance.f32,
    signal,
    start: freshProgress,
    vStarOf: (id) => values!.get(id)!,
    tracker: algorithm.tracksValues
      ? openTracker({ rows, rewardsOf: (id) => samples!.entries.get(id)!.rewards, seed: settings.seed })
      : undefined,
    schedule: scheduleOf(settings, plan.length),
    evalHeldOut: (step) =>
      evalEvery > 0 && step % evalEvery === 0 ? greedyAccuracy(kit, problems.test, signal) : undefined,
    validate: () => undefined,
    onStep: (metrics, rollouts) => {
      history.push(metrics);
      onEvent({ kind: 'step', metrics, rollouts });
    },
    keepIfBest: async () => {},
    isOver: () => window !== undefined && isFlat(history, { window, after }),
    saveDue: () => false,
    save: async () => {},
  });
  return { before, after: await evaluated('after'), updates };
}

/** The samples of every training problem. @throws UserError when training could not learn from them. */
async function sampled(
  job: MemoryJob,
  kit: RolloutKit,
  { onEvent, reporter, signal }: Omit<MemoryRunOptions, 'turn'>,
): Promise<Samples> {
  const { settings, problems } = job;
  const empty: Samples = { beta1: settings.beta1, samples: settings.numSamples, entries: new Map() };
  const onGroup = (samples: Samples) => onEvent({ kind: 'sampled', samples });
  const samples = await estimate(kit, problems.train, empty, { signal, reporter, onGroup });
  const seen = await probe(kit, problems.train.slice(0, probeSize.problems), probeSize.samples, signal);
  const preflight = judgeSamples(job, samples, seen);
  onEvent({ kind: 'preflight', preflight });
  if (preflight.verdict === 'stop' && !settings.force) {
    throw new UserError({
      problem: 'Stage 1 found nothing that reinforcement learning could learn from.',
      fix: preflight.advice.join(' '),
    });
  }
  return samples;
}
