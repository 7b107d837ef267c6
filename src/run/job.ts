/**
 * @file What stage 1, training and evaluation share: the model, its complete settings, the task with its problems, the engine,
 * and the policy with all that turns problems into graded rollouts. {@link withJob} and {@link withPolicy} open and close them.
 */

import { multiplicationTask } from '../data/multiplication-task.js';
import { buildProblemSet, hashProblems, type Problem, type ProblemSet } from '../data/problem.js';
import { loadProblemsFile } from '../data/problems-file.js';
import { drawHeldOut, heldOutSplits } from '../data/products.js';
import { wordings } from '../data/prompt.js';
import type { Task } from '../data/task.js';
import { loadTaskFile, type TaskApi } from '../data/task-file.js';
import type { Engine } from '../engine/backend.js';
import { fingerprintModel, type Pretrained } from '../model/checkpoint/pretrained.js';
import type { Tokenizer } from '../model/checkpoint/tokenizer.js';
import { parameterState, stateBytes } from '../model/load.js';
import { type DescribedModel, type EngineRequest, openModel, openWantedEngine } from '../model/open.js';
import { builtinModel } from '../model/shipped.js';
import { completeSettings, heldOutSplitOf, type Settings, type TrainingOptions } from '../options/settings.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import { evaluate } from '../policy/evaluate.js';
import {
  createPolicy,
  type Policy,
  type PolicySizes,
  type TrainingOptions as PolicyTraining,
} from '../policy/policy.js';
import { promptIds, type RolloutKit } from '../policy/rollout.js';
import {
  deriveVStar,
  type Fingerprint,
  readVStarFile,
  requireFingerprint,
  type VStarFile,
} from '../stage1/v-star-file.js';
import { UserError } from '../util/errors.js';
import { keyedRandom } from '../util/random.js';
import type { Reporter } from '../util/reporter.js';
import { packageVersion } from '../util/version.js';

export interface Job {
  readonly settings: Settings;
  /** The model that is trained or evaluated. */
  readonly pretrained: Pretrained;
  /** The model that V* and loss refer to; often the same object. */
  readonly reference: Pretrained;
  readonly tokenizer: Tokenizer;
  readonly task: Task;
  readonly problems: ProblemSet;
  /** The settings that rewards depend on. */
  readonly fingerprint: Fingerprint;
  /** V* as `--v-star` gives it; without that option no samples are known. */
  readonly vStar: VStarFile;
  readonly engine: Engine;
  /** Receives progress. */
  readonly reporter: Reporter;
}

export interface JobRequest {
  readonly options: TrainingOptions;
  readonly engineRequest: Pick<EngineRequest, 'engine' | 'install'>;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  readonly taskApi: TaskApi;
}

/** Runs `work` with everything open. The engine is opened last, so that a wrong option is reported at once. @throws UserError */
export async function withJob<T>(
  { options, engineRequest, reporter, signal, taskApi }: JobRequest,
  work: (job: Job) => Promise<T>,
): Promise<T> {
  const { pretrained, tokenizer } = await openModel(options.model ?? builtinModel, reporter, signal);
  let reference = pretrained;
  try {
    if (options.reference !== undefined) {
      ({ pretrained: reference } = await openModel(options.reference, reporter, signal));
      requireSameShape(pretrained, reference);
    }
    const { settings, task, problems, sampledWith } = await openProblems(options, { pretrained, tokenizer }, taskApi);
    if (settings.lora !== undefined && pretrained.adapterFolder !== undefined) {
      throw new UserError({
        problem: `${pretrained.adapterFolder} is an adapter, and --lora-rank would train adapters over it.`,
        fix: `Merge it first with \`tinyzero merge ${pretrained.adapterFolder} --out FOLDER\`.`,
      });
    }
    for (const note of problems.notes) reporter.line(note);
    const fingerprint = { model: fingerprintModel(reference), ...sampledWith };
    const vStar = readGivenVStar(settings, fingerprint) ?? emptyVStar(settings, fingerprint);
    const engine = await openWantedEngine({ ...engineRequest, precision: settings.precision }, reporter, signal);
    return await work({
      settings,
      pretrained,
      reference,
      tokenizer,
      task,
      problems,
      fingerprint,
      vStar,
      engine,
      reporter,
    });
  } finally {
    pretrained.weights.close();
    if (reference !== pretrained) reference.weights.close();
  }
}

/**
 * V* of `--v-star`, at the settings' beta1 and number of samples; undefined without that option.
 *
 * @throws UserError when the file cannot be used with these settings.
 */
export function readGivenVStar(
  { vStar, beta1, numSamples: samples }: Settings,
  fingerprint: Partial<Fingerprint>,
): VStarFile | undefined {
  if (vStar === undefined) return undefined;
  const file = readVStarFile(vStar);
  requireFingerprint(vStar, file, fingerprint);
  const { shards: _, ...derived } = deriveVStar(vStar, file, { beta1, samples });
  return derived;
}

function emptyVStar({ beta1, numSamples: samples }: Settings, fingerprint: Fingerprint): VStarFile {
  return { createdBy: `tinyzero ${packageVersion()}`, fingerprint, beta1, samples, entries: new Map() };
}

export interface JobProblems {
  readonly settings: Settings;
  readonly task: Task;
  readonly problems: ProblemSet;
  /** The fingerprint but for the model's weights. */
  readonly sampledWith: Omit<Fingerprint, 'model'>;
}

/** The part of a job that needs no weights and no engine. @throws UserError */
export async function openProblems(
  options: TrainingOptions,
  { pretrained, tokenizer }: DescribedModel,
  taskApi: TaskApi,
): Promise<JobProblems> {
  const heldOut = heldOutSplitOf(pretrained.configRecord);
  const settings = completeSettings(options, { heldOut, hasChatTemplate: tokenizer.chatTemplate !== null });
  const { task, rewardName } = await openTask(settings, heldOut, taskApi);
  const problems = buildProblemSet(task, settings);
  requireSpellable(task, [...problems.train, ...problems.test], { tokenizer, promptStyle: settings.promptStyle });
  const { temperature, maxNewTokens, seed, promptStyle, precision } = settings;
  const sampledWith = {
    tokenizer: tokenizer.fingerprint,
    problems: hashProblems(problems.train),
    prompt: `${task.name}, ${promptStyle}`,
    sampling: `temperature ${temperature}, ${maxNewTokens} tokens, seed ${seed}, ${precision}`,
    reward: rewardName,
  };
  return { settings, task, problems, sampledWith };
}

/** @throws UserError naming the first problem that the model has no tokens for. */
function requireSpellable(
  task: Task,
  problems: readonly Problem[],
  prompts: Pick<RolloutKit, 'tokenizer' | 'promptStyle'>,
): void {
  for (const problem of problems) {
    try {
      promptIds(prompts, problem);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      throw new UserError(
        {
          problem: `This model cannot be asked the problems of task "${task.name}". ${error.message}`,
          fix: 'Write the prompts with characters it can spell, or choose another --model.',
        },
        { cause: error },
      );
    }
  }
}

/** @throws UserError when the two models have different architectures. */
function requireSameShape(model: Pretrained, reference: Pretrained): void {
  const shape = ({ config }: Pretrained) => JSON.stringify({ ...config, dtype: undefined });
  if (shape(model) === shape(reference)) return;
  throw new UserError({
    problem: `${reference.folder} cannot be the reference of ${model.folder}: their config.json describe different models.`,
    fix: 'The reference must have the architecture of the model, as the checkpoint that it was trained from does.',
  });
}

async function openTask(
  settings: Settings,
  heldOut: keyof typeof heldOutSplits | undefined,
  taskApi: TaskApi,
): Promise<{ task: Task; rewardName: string }> {
  const { min, max, numTest, overlap, reward, rewardReads, seed, wording } = settings;
  if (settings.task !== undefined) {
    const { task, hash } = await loadTaskFile(settings.task, await taskApi());
    return { task, rewardName: `${task.name} ${hash}` };
  }
  if (settings.problems !== undefined) {
    const { task, hash } = loadProblemsFile(settings.problems);
    return { task: task as Task, rewardName: `${task.name} ${hash}` };
  }
  const pairs =
    overlap === 'seed'
      ? []
      : heldOut !== undefined
        ? heldOutSplits[heldOut]
        : drawHeldOut(min, max, numTest, keyedRandom(seed, 'held out'));
  const rewardOptions = { kind: reward, read: rewardReads };
  const task = multiplicationTask({ min, max, heldOut: pairs, wording, reward: rewardOptions });
  return { task: task as Task, rewardName: `${reward}, ${rewardReads}, ${wordings[wording]({ a: 7, b: 8 })}` };
}

/**
 * Rollouts decoded at once, memory permitting. Measured with the built-in model on 2 cores: 4,000 rollouts of 32 tokens take
 * 1.5 s with 128, and 1.3 s with 256 or 512 (docs/log.md).
 */
const defaultSlots = 256;

/** Sizes of a policy for `problems`. */
export function policySizes(
  {
    promptStyle,
    maxNewTokens,
    numSamples,
    evalSamples,
  }: Pick<Settings, 'promptStyle' | 'maxNewTokens' | 'numSamples' | 'evalSamples'>,
  tokenizer: Tokenizer,
  problems: readonly Problem[],
  training?: Pick<PolicyTraining, 'batchSize'>,
): PolicySizes {
  return {
    promptLengths: problems.map((problem) => promptIds({ tokenizer, promptStyle }, problem).length),
    maxNewTokens,
    // No more than are ever drawn at once.
    slots: Math.max(
      Math.min(defaultSlots, problems.length * Math.max(numSamples, evalSamples, 1)),
      training?.batchSize ?? 0,
    ),
  };
}

export interface OpenPolicy {
  readonly policy: Policy;
  /** Samples from the policy and grades. */
  readonly kit: RolloutKit;
}

/** Runs `work` with a policy for `problems` that has the model's parameters. Without `training` it can only be sampled from. */
export async function withPolicy<T>(
  job: Job,
  problems: readonly Problem[],
  training: PolicyTraining | undefined,
  work: (open: OpenPolicy) => Promise<T>,
): Promise<T> {
  const open = openPolicy(job, problems, training);
  try {
    return await work(open);
  } finally {
    open.policy.dispose();
  }
}

/** The evaluation of a model on its held-out problems. @param name of the model in the summary; default: as the options have it. */
export async function evaluateModel(request: JobRequest, name?: string): Promise<EvalSummary> {
  const { reporter, signal } = request;
  return await withJob(request, (job) =>
    withPolicy(job, job.problems.test, undefined, ({ kit }) => {
      const { model, evalSamples: samples } = job.settings;
      return evaluate(kit, job.problems.test, { model: name ?? model, samples, signal, reporter });
    }),
  );
}

function openPolicy(
  { settings, pretrained, reference, tokenizer, task, engine, reporter }: Job,
  problems: readonly Problem[],
  training: PolicyTraining | undefined,
): OpenPolicy {
  const { promptStyle, maxNewTokens, temperature, seed, precision } = settings;
  const policy = createPolicy(engine, pretrained.config, {
    sizes: policySizes(settings, tokenizer, problems, training),
    precision,
    ...(training && {
      training: { ...training, isNarrow: (name) => reference.weights.dtypeOf(name) === 'bfloat16' },
    }),
  });
  loadWithProgress(policy, pretrained, reporter);
  const endIds = new Set(pretrained.generation.eosTokenIds);
  return { policy, kit: { policy, tokenizer, task, promptStyle, endIds, maxNewTokens, temperature, seed } };
}

function loadWithProgress(policy: Policy, { config, weights }: Pretrained, reporter: Reporter): void {
  const work = reporter.work('Loading the model', 'bytes');
  const total = stateBytes(parameterState(config));
  let done = 0;
  policy.load((name) => {
    const values = weights.read(name);
    done += values.byteLength;
    work.update({ done, total });
    return values;
  });
  work.end();
}
