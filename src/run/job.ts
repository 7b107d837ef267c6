/**
 * @file What stage 1, training and evaluation share: settings completed for the model, the task with its problems, the
 * engine, and the policy with all that turns problems into graded rollouts.
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
import {
  createPolicy,
  type Policy,
  type PolicySizes,
  type TrainingOptions as PolicyTraining,
} from '../policy/policy.js';
import { promptIds, type RolloutKit } from '../policy/rollout.js';
import type { Fingerprint } from '../stage1/v-star-file.js';
import { UserError } from '../util/errors.js';
import { keyedRandom } from '../util/random.js';
import type { Reporter } from '../util/reporter.js';

export interface Job {
  readonly settings: Settings;
  /** The model that is trained or evaluated. */
  readonly pretrained: Pretrained;
  /** The model that V* and loss refer to; often the same object. */
  readonly reference: Pretrained;
  readonly tokenizer: Tokenizer;
  readonly task: Task;
  readonly problems: ProblemSet;
  /** Binds rewards to what they were sampled with. */
  readonly fingerprint: Fingerprint;
  readonly engine: Engine;
  /** Is told how the work goes. */
  readonly reporter: Reporter;
  close(): void;
}

export interface JobRequest {
  readonly options: TrainingOptions;
  readonly engineRequest: Pick<EngineRequest, 'engine' | 'install'>;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  readonly taskApi: TaskApi;
}

/** Opens everything; the engine last, so that a wrong option is told at once. @throws UserError */
export async function openJob({ options, engineRequest, reporter, signal, taskApi }: JobRequest): Promise<Job> {
  const { pretrained, tokenizer } = await openModel(options.model ?? builtinModel, reporter, signal);
  let reference = pretrained;
  const close = () => {
    pretrained.weights.close();
    if (reference !== pretrained) reference.weights.close();
  };
  try {
    if (options.reference !== undefined) {
      ({ pretrained: reference } = await openModel(options.reference, reporter, signal));
      requireSameShape(pretrained, reference);
    }
    const { settings, task, rewardName, problems } = await openProblems(options, { pretrained, tokenizer }, taskApi);
    for (const note of problems.notes) reporter.line(note);
    const { temperature, maxNewTokens, seed, promptStyle, precision } = settings;
    const fingerprint: Fingerprint = {
      model: fingerprintModel(reference),
      tokenizer: tokenizer.fingerprint,
      problems: hashProblems(problems.train),
      prompt: `${task.name}, ${promptStyle}`,
      sampling: `temperature ${temperature}, ${maxNewTokens} tokens, seed ${seed}, ${precision}`,
      reward: rewardName,
    };
    const engine = await openWantedEngine({ ...engineRequest, precision }, reporter, signal);
    return { settings, pretrained, reference, tokenizer, task, problems, fingerprint, engine, reporter, close };
  } catch (error) {
    close();
    throw error;
  }
}

export interface JobProblems {
  readonly settings: Settings;
  readonly task: Task;
  /** Says in a V* file what the rewards depend on. */
  readonly rewardName: string;
  readonly problems: ProblemSet;
}

/** What a job asks of a model, as far as it depends on options and model alone. @throws UserError */
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
  return { settings, task, rewardName, problems };
}

/** @throws UserError naming the first problem that the model has no tokens for, before anything is sampled or written. */
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
          fix: 'Word the prompts in what it can spell, or take another --model.',
        },
        { cause: error },
      );
    }
  }
}

/** @throws UserError when the reference cannot stand beside the model in one program. */
function requireSameShape(model: Pretrained, reference: Pretrained): void {
  const shape = ({ config }: Pretrained) => JSON.stringify({ ...config, dtype: undefined });
  if (shape(model) === shape(reference)) return;
  throw new UserError({
    problem: `${reference.folder} cannot be the reference of ${model.folder}: their config.json describe different models.`,
    fix: 'The reference must have the architecture of the model, as the checkpoint it was trained from has.',
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
 * Rollouts side by side, memory permitting. Measured with the built-in model on 2 cores: 4,000 rollouts of 32 tokens take
 * 1.5 s with 128, and 1.3 s with 256 or 512 (docs/log.md).
 */
export const defaultSlots = 256;

/** Sizes of a policy that serves `problems`. */
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
    // No more than there ever are rollouts to draw at once.
    slots: Math.max(
      Math.min(defaultSlots, problems.length * Math.max(numSamples, evalSamples, 1)),
      training?.batchSize ?? 0,
    ),
  };
}

/** The job's policy, with the model's parameters loaded, and the kit that samples from it for `problems`. */
export function openPolicy(
  { settings, pretrained, reference, tokenizer, task, engine, reporter }: Job,
  problems: readonly Problem[],
  training?: PolicyTraining,
): { policy: Policy; kit: RolloutKit } {
  const { promptStyle, maxNewTokens, temperature, seed, precision } = settings;
  const policy = createPolicy(engine, pretrained.config, {
    sizes: policySizes(settings, tokenizer, problems, training),
    precision,
    ...(training && {
      training: { ...training, isNarrow: (name) => reference.weights.dtypeOf(name) === 'bfloat16' },
    }),
  });
  loadWatched(policy, pretrained, reporter);
  const endIds = new Set(pretrained.generation.eosTokenIds);
  return { policy, kit: { policy, tokenizer, task, promptStyle, endIds, maxNewTokens, temperature, seed } };
}

/** Loads the parameters, which takes a while when they are gigabytes. */
function loadWatched(policy: Policy, { config, weights }: Pretrained, reporter: Reporter): void {
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
