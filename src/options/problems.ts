/**
 * @file The problems of a job: the task named by the options, its problems, and how they are asked. Needs the options and the
 * model's config and tokenizer, but no weights and no engine.
 */
import { parseColumnMap } from '../data/column-map.js';
import { drawHeldOut, heldOutSplits, multiplicationTask } from '../data/multiplication.js';
import { buildProblemSet, hashProblems, type Problem, type ProblemSet, questionOfProblem } from '../data/problem.js';
import { fileSource, loadProblems, type ProblemSource } from '../data/problems-file.js';
import { contentOf, describeForm, type PromptForm, wordings } from '../data/prompt.js';
import type { Task } from '../data/task.js';
import { loadTaskFile, type TaskApi } from '../data/task-file.js';
import { weightForm } from '../engine/choices.js';
import { isDatasetId, resolveDataset } from '../model/hub/dataset.js';
import { parameterCount } from '../model/network/params.js';
import { type DescribedModel, withDownloads } from '../model/open.js';
import { promptIds, type RolloutKit } from '../policy/rollout.js';
import type { Fingerprint } from '../stage1/fingerprint.js';
import { exitCodes, UserError } from '../util/errors.js';
import { keyedRandom } from '../util/random.js';
import type { Reporter } from '../util/reporter.js';
import {
  completeSettings,
  defaultSplit,
  heldOutSplitOf,
  type ModelFacts,
  type Settings,
  type TrainingOptions,
} from './settings.js';

export interface JobProblems {
  readonly settings: Settings;
  readonly task: Task;
  readonly problems: ProblemSet;
  readonly form: PromptForm;
  /** The fingerprint without the model's weights. */
  readonly sampledWith: Omit<Fingerprint, 'model'>;
  /** Of `--problems`. */
  readonly source?: ProblemSource;
}

export interface ProblemsContext {
  readonly taskApi: TaskApi;
  /** Receives progress of downloads. */
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
}

/** The part of a job that needs no weights and no engine. @throws UserError */
export async function openProblems(
  options: TrainingOptions,
  model: DescribedModel,
  context: ProblemsContext,
): Promise<JobProblems> {
  const { tokenizer } = model;
  const facts = factsOf(model);
  const completed = completeSettings(options, facts);
  const { task, rewardName, pinned, source, notes = [] } = await openTask(completed, facts.heldOut, context);
  // Records the dataset's commit, so that repeating the run uses the same data.
  const settings = pinned === undefined ? completed : { ...completed, problems: pinned };
  const drawn = buildProblemSet(task, settings);
  const noted = { ...drawn, notes: [...notes, ...drawn.notes] };
  const { problems: unshown, examples } = withoutExamples(task, noted, settings);
  const problems = withValidation(task, unshown, settings);
  requireCountable(settings, problems);
  const form: PromptForm = { style: settings.promptStyle, system: settings.system, examples };
  requireSpellable(task, [...problems.train, ...problems.test, ...(problems.validation ?? [])], { tokenizer, form });
  const { temperature, maxNewTokens, seed, precision, samplerWeights, tinkerUrl } = settings;
  // A server draws different samples from the same random numbers.
  const by = tinkerUrl === undefined ? weightForm(precision, samplerWeights) : 'Tinker server';
  const sampledWith = {
    tokenizer: tokenizer.fingerprint,
    problems: hashProblems(problems.train),
    prompt: `${task.name}, ${describeForm(form)}`,
    sampling: `temperature ${temperature}, ${maxNewTokens} tokens, seed ${seed}, ${by}`,
    reward: rewardName,
  };
  return { settings, task, problems, form, sampledWith, ...(source && { source }) };
}

/** How a run with these options asks its model. Its problems are opened only if some of them are shown as examples. */
export async function promptFormOf(
  options: TrainingOptions,
  model: DescribedModel,
  context: ProblemsContext,
): Promise<PromptForm> {
  const { shots, promptStyle: style, system } = completeSettings(options, factsOf(model));
  return shots === 0 ? { style, system } : (await openProblems(options, model, context)).form;
}

/** The properties of a model that the defaults of options depend on. */
export function factsOf({ pretrained, tokenizer }: DescribedModel): ModelFacts {
  return {
    heldOut: heldOutSplitOf(pretrained.configRecord),
    hasChatTemplate: tokenizer.chatTemplate !== null,
    parameters: parameterCount(pretrained.config),
  };
}

/** Most completions of one evaluation, or of stage 1. All of them are in memory at its end, at about 1 kB each. */
const maxCompletions = 2_000_000;

/** @throws UserError (wrong usage) for more samples than can be kept. */
function requireCountable({ numSamples, evalSamples }: Settings, { train, test }: ProblemSet): void {
  const sets = [
    [numSamples, train.length, 'distinct problems'],
    [evalSamples, test.length, 'held-out problems'],
  ] as const;
  for (const [samples, count, what] of sets) {
    if (samples * count <= maxCompletions) continue;
    throw new UserError(
      {
        problem: `Too many completions: ${samples} samples of each of ${count} ${what}.`,
        expected: `at most ${maxCompletions}`,
        found: `${samples * count}`,
        fix: 'Use fewer samples.',
      },
      { exitCode: exitCodes.usage },
    );
  }
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
      { problem: `--shots needs solved problems, but task "${task.name}" has no solution(problem).` },
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
      expected: `more than ${shots} problems of different clusters`,
      found: `${problems.train.length} in total`,
    });
  }
  const examples = [...shown.values()].map((problem) => ({
    question: contentOf(questionOfProblem(problem)),
    solution: solution(problem.value),
  }));
  return { problems: withTrain(problems, train), examples };
}

/**
 * Sets aside `numValidation` training problems, and all others of their clusters, to choose a model by; at most half of the
 * clusters.
 *
 * @throws UserError when the task has too few problems.
 */
function withValidation(task: Task, problems: ProblemSet, { numValidation, seed }: Settings): ProblemSet {
  if (numValidation === 0) return problems;
  const clusters = keyedRandom(seed, 'validation').shuffle([...new Set(problems.train.map(({ cluster }) => cluster))]);
  const held = new Set<string>();
  let count = 0;
  for (const cluster of clusters.slice(0, Math.floor(clusters.length / 2))) {
    if (count >= numValidation) break;
    held.add(cluster);
    count += problems.train.filter((problem) => problem.cluster === cluster).length;
  }
  if (count < numValidation) {
    throw new UserError({
      problem: `Task "${task.name}" has too few training problems for --num-validation ${numValidation}.`,
      expected: `${numValidation} problems in half of the clusters`,
      found: `${count}, of ${problems.train.length} training problems in all`,
    });
  }
  const isHeld = ({ cluster }: Problem) => held.has(cluster);
  return {
    ...withTrain(
      problems,
      problems.train.filter((problem) => !isHeld(problem)),
    ),
    validation: problems.train.filter(isHeld).slice(0, numValidation),
  };
}

/** Keeps only these training problems and their rows. */
function withTrain(problems: ProblemSet, train: readonly Problem[]): ProblemSet {
  const index = new Map(train.map((problem, i) => [problem, i]));
  const rows = problems.rows.flatMap((row) => index.get(problems.train[row]!) ?? []);
  return { ...problems, train, rows };
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
          problem: `The model cannot read the prompts of task "${task.name}". ${error.message}`,
          fix: 'Use only characters that it knows, or choose another --model.',
        },
        { cause: error },
      );
    }
  }
}

interface OpenedTask {
  readonly task: Task;
  readonly rewardName: string;
  /** The dataset with its commit. */
  readonly pinned?: string;
  readonly source?: ProblemSource;
  readonly notes?: readonly string[];
}

async function openTask(
  settings: Settings,
  heldOut: keyof typeof heldOutSplits | undefined,
  context: ProblemsContext,
): Promise<OpenedTask> {
  const { min, max, numTest, overlap, reward, rewardReads, seed, wording } = settings;
  if (settings.task !== undefined) {
    const { task, hash } = await loadTaskFile(settings.task, await context.taskApi());
    return { task, rewardName: `${task.name} ${hash}` };
  }
  if (settings.problems !== undefined) {
    const { source, pinned } = await findProblems(settings.problems, settings, context);
    const { task, hash, notes } = await loadProblems(source);
    return { task: task as Task, rewardName: `${task.name} ${hash}`, notes, source, ...(pinned && { pinned }) };
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

/** The file, or the dataset of the hub, downloaded if it is not in the cache. */
async function findProblems(
  reference: string,
  { map: given, subset, split, testSplit }: Settings,
  { reporter, signal }: ProblemsContext,
): Promise<{ readonly source: ProblemSource; readonly pinned?: string }> {
  const map = parseColumnMap(given, []);
  if (!isDatasetId(reference)) return { source: fileSource(reference, map) };
  const { pinned, files } = await withDownloads(reference, reporter, (onProgress) =>
    resolveDataset(
      reference,
      { subset, split: split ?? defaultSplit, testSplit },
      { onProgress, onNotice: reporter.line, signal },
    ),
  );
  const name = reference.split('@')[0]!;
  const named = files.map((file) => ({ ...file, name: `${file.name} of ${name}` }));
  return { source: { name, files: named, map, isDataset: true }, pinned };
}
