/**
 * @file The problems of a job: the task named by the options, its problems, and how they are asked. Needs the options and the
 * model's config and tokenizer, but no weights and no engine.
 */
import { multiplicationTask } from '../data/multiplication-task.js';
import { buildProblemSet, hashProblems, type Problem, type ProblemSet, questionOfProblem } from '../data/problem.js';
import { loadProblemsFile } from '../data/problems-file.js';
import { drawHeldOut, heldOutSplits } from '../data/products.js';
import { contentOf, describeForm, type PromptForm, wordings } from '../data/prompt.js';
import type { Task } from '../data/task.js';
import { loadTaskFile, type TaskApi } from '../data/task-file.js';
import { parameterCount } from '../model/network/params.js';
import type { DescribedModel } from '../model/open.js';
import { promptIds, type RolloutKit } from '../policy/rollout.js';
import type { Fingerprint } from '../stage1/v-star-file.js';
import { exitCodes, UserError } from '../util/errors.js';
import { keyedRandom } from '../util/random.js';
import { completeSettings, heldOutSplitOf, type Settings, type TrainingOptions } from './settings.js';

export interface JobProblems {
  readonly settings: Settings;
  readonly task: Task;
  readonly problems: ProblemSet;
  readonly form: PromptForm;
  /** The fingerprint without the model's weights. */
  readonly sampledWith: Omit<Fingerprint, 'model'>;
}

/** The part of a job that needs no weights and no engine. @throws UserError */
export async function openProblems(
  options: TrainingOptions,
  { pretrained, tokenizer }: DescribedModel,
  taskApi: TaskApi,
): Promise<JobProblems> {
  const heldOut = heldOutSplitOf(pretrained.configRecord);
  const hasChatTemplate = tokenizer.chatTemplate !== null;
  const settings = completeSettings(options, {
    heldOut,
    hasChatTemplate,
    parameters: parameterCount(pretrained.config),
  });
  const { task, rewardName } = await openTask(settings, heldOut, taskApi);
  const { problems, examples } = withoutExamples(task, buildProblemSet(task, settings), settings);
  const form: PromptForm = { style: settings.promptStyle, system: settings.system, examples };
  requireSpellable(task, [...problems.train, ...problems.test], { tokenizer, form });
  const { temperature, maxNewTokens, seed, precision } = settings;
  const sampledWith = {
    tokenizer: tokenizer.fingerprint,
    problems: hashProblems(problems.train),
    prompt: `${task.name}, ${describeForm(form)}`,
    sampling: `temperature ${temperature}, ${maxNewTokens} tokens, seed ${seed}, ${precision}`,
    reward: rewardName,
  };
  return { settings, task, problems, form, sampledWith };
}

/**
 * Removes `shots` training problems, and all others of their clusters, from the problem set and solves them as examples: a
 * model must not be trained on problems shown in its prompt.
 *
 * @throws UserError when the task has no solutions or too few problems.
 */
function withoutExamples(task: Task, problems: ProblemSet, { shots, seed }: Settings) {
  if (shots === 0) return { problems, examples: [] };
  const { solution } = task;
  if (!solution) {
    throw new UserError(
      { problem: `--shots shows solved problems, and task "${task.name}" has no solution(problem).` },
      { exitCode: exitCodes.usage },
    );
  }
  const shown = new Map<string, Problem>();
  for (const problem of keyedRandom(seed, 'shots').shuffle(problems.train)) {
    if (shown.size < shots && !shown.has(problem.cluster)) shown.set(problem.cluster, problem);
  }
  const train = problems.train.filter(({ cluster }) => !shown.has(cluster));
  if (shown.size < shots || train.length === 0) {
    throw new UserError({
      problem: `Task "${task.name}" has too few training problems for --shots ${shots}.`,
      expected: `more than ${shots} of different clusters`,
      found: `${problems.train.length} in total`,
    });
  }
  const index = new Map(train.map((problem, i) => [problem, i]));
  const rows = problems.rows.flatMap((row) => index.get(problems.train[row]!) ?? []);
  const examples = [...shown.values()].map((problem) => ({
    question: contentOf(questionOfProblem(problem)),
    solution: solution(problem.value),
  }));
  return { problems: { ...problems, train, rows }, examples };
}

/** @throws UserError naming the first problem that the model's tokenizer cannot encode. */
function requireSpellable(
  task: Task,
  problems: readonly Problem[],
  prompts: Pick<RolloutKit, 'tokenizer' | 'form'>,
): void {
  for (const problem of problems) {
    try {
      promptIds(prompts, problem);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      throw new UserError(
        {
          problem: `This model cannot be asked the problems of task "${task.name}". ${error.message}`,
          fix: 'Use only characters that it can spell, or choose another --model.',
        },
        { cause: error },
      );
    }
  }
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
