/**
 * @file Loads and checks a `--task` file: JavaScript or TypeScript that exports a task (see data/task.ts). Wherever it is, it
 * can `import { defineTask } from 'tinyzero'`. The file is the user's own code and runs with full permissions.
 */
import { createHash } from 'node:crypto';
import { extname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createJiti } from 'jiti';
import { UserError } from '../util/errors.js';
import { readRegularFile } from '../util/file.js';
import { quote } from '../util/json.js';
import { keyedRandom } from '../util/random.js';
import { contentOf } from './prompt.js';
import { questionOf, scoreCompletion, type Task } from './task.js';

export interface LoadedTask {
  readonly task: Task;
  /** SHA-256 of the file, in hexadecimal, without the files that it imports. */
  readonly hash: string;
}

/** Loads the module that a task file gets when it imports 'tinyzero'. */
export type TaskApi = () => Promise<Readonly<Record<string, unknown>>>;

const extensions = ['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts'];
const required = ['problems', 'reward'] as const;
const optional = ['prompt', 'messages', 'heldOut', 'cluster', 'solution'] as const;

const hint = 'A task file ends with `export default defineTask({ name, problems, prompt, reward })`.';

/**
 * Loads the task in `path`. `api` is the module that it gets when it imports 'tinyzero'.
 *
 * @throws UserError when the file is missing, does not compile, fails, exports no task, or exports a task whose functions
 *   break their contract on a few sample problems.
 */
export async function loadTaskFile(path: string, api: Readonly<Record<string, unknown>>): Promise<LoadedTask> {
  const file = resolve(path);
  if (!extensions.includes(extname(file))) {
    throw new UserError({
      problem: `${path} is not a task file.`,
      expected: `a file ending in ${extensions.join(' ')}`,
    });
  }
  const bytes = readRegularFile(file);
  const task = checkShape(path, await importFile(path, file, api));
  tryOut(path, task);
  return { task, hash: createHash('sha256').update(bytes).digest('hex') };
}

async function importFile(path: string, file: string, api: Readonly<Record<string, unknown>>): Promise<unknown> {
  // 'tinyzero' resolves to this file, which always exists, and the module cache returns `api` for it. Loading the package a
  // second time would give the task different classes and a second tensor engine.
  const target = fileURLToPath(import.meta.url);
  const jiti = createJiti(import.meta.url, { alias: { tinyzero: target }, fsCache: false });
  jiti.cache[target] = Object.assign(Object.create(null), { id: target, filename: target, loaded: true, exports: api });
  try {
    const module: unknown = await jiti.import(file);
    const hasDefault = typeof module === 'object' && module !== null && 'default' in module;
    return hasDefault ? module.default : module;
  } catch (cause) {
    const reason = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    throw new UserError(`The task file ${path} cannot be loaded. ${reason.trim()}`, { cause });
  } finally {
    delete jiti.cache[target];
  }
}

function checkShape(path: string, exported: unknown): Task {
  const refuse = (expected: string, found: string) =>
    new UserError({ problem: `${path} exports no usable task.`, expected, found, fix: hint });
  if (typeof exported !== 'object' || exported === null) throw refuse('an object', quote(exported));
  const members = exported as Record<string, unknown>;
  const { name } = members;
  if (typeof name !== 'string' || name.trim() === '') throw refuse('name to be a nonempty string', quote(name));
  for (const member of required) {
    if (typeof members[member] !== 'function') throw refuse(`${member} to be a function`, quote(members[member]));
  }
  for (const member of optional) {
    if (!['function', 'undefined'].includes(typeof members[member])) {
      throw refuse(`${member} to be a function or absent`, quote(members[member]));
    }
  }
  if ((members.prompt === undefined) === (members.messages === undefined)) {
    throw refuse('either prompt or messages to be a function', members.prompt === undefined ? 'neither' : 'both');
  }
  checkAsyncReward(members.asyncReward, refuse);
  const known: readonly string[] = ['name', 'asyncReward', ...required, ...optional];
  const unknown = Object.keys(members).find((member) => !known.includes(member));
  if (unknown !== undefined) throw refuse(`only the members ${known.join(', ')}`, unknown);
  return exported as Task;
}

function checkAsyncReward(value: unknown, refuse: (expected: string, found: string) => UserError): void {
  if (value === undefined) return;
  const limits = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  const { timeLimitSeconds = 1, concurrency = 1, ...others } = limits ?? { other: value };
  const isPositive = typeof timeLimitSeconds === 'number' && timeLimitSeconds > 0;
  const isCount = Number.isInteger(concurrency) && (concurrency as number) >= 1;
  if (isPositive && isCount && Object.keys(others).length === 0) return;
  throw refuse(
    'asyncReward to be { timeLimitSeconds?: number above 0, concurrency?: whole number of at least 1 }',
    quote(value),
  );
}

/** Number of problems that a task is tried on. */
const tried = 4;

/** Calls every function as a run does, so that mistakes are found before a model is loaded. */
function tryOut(path: string, task: Task): void {
  const random = () => keyedRandom('task', 'try');
  const call = <T>(name: string, action: () => T): T => {
    try {
      return action();
    } catch (cause) {
      if (cause instanceof UserError) throw cause;
      throw new UserError(`${name} of task "${task.name}" failed: ${cause instanceof Error ? cause.message : cause}.`, {
        cause,
      });
    }
  };
  const contract = (problem: string, fix: string) => new UserError({ problem: `In ${path}, ${problem}`, fix });
  const problems = call(`problems(random, ${tried})`, () => task.problems(random(), tried));
  if (!Array.isArray(problems) || problems.length !== tried) {
    throw new UserError({
      problem: `In ${path}, problems(random, ${tried}) returned an invalid value.`,
      expected: `an array of ${tried} problems`,
      found: Array.isArray(problems) ? `${problems.length} problems` : quote(problems),
    });
  }
  // Compared as JSON, the form in which problems are stored.
  if (JSON.stringify(call('problems', () => task.problems(random(), tried))) !== JSON.stringify(problems)) {
    throw contract(
      'problems(random, n) returns different problems for the same random numbers.',
      'Draw with `random` (uniform, int, pick, shuffle, normal), not with Math.random or the clock.',
    );
  }
  for (const problem of problems) {
    const asked = task.messages ? 'messages' : 'prompt';
    const question = call(asked, () => questionOf(task, problem));
    if (typeof question !== 'string' && !task.messages) {
      throw contract(`prompt(${quote(problem)}) is ${quote(question)}.`, 'It must be a nonempty string.');
    }
    if (task.messages && !Array.isArray(question)) {
      throw contract(`messages(${quote(problem)}) is ${quote(question)}.`, 'It must be a list of { role, content }.');
    }
    const prompt = contentOf(question);
    if (prompt === '') {
      throw contract(`${asked}(${quote(problem)}) is empty.`, 'It must be a nonempty string.');
    }
    // A judge may cost time or money and need not be deterministic, so it is not called here.
    if (task.asyncReward) continue;
    const first = scoreCompletion(task, prompt, problem, { finished: true });
    if (JSON.stringify(scoreCompletion(task, prompt, problem, { finished: true })) !== JSON.stringify(first)) {
      throw contract(
        `reward(${quote(prompt)}, ${quote(problem)}) differs between calls.`,
        'A reward must depend only on its arguments.',
      );
    }
    scoreCompletion(task, '', problem, { finished: false });
    if (!task.solution) continue;
    const solution = call('solution', () => task.solution?.(problem));
    if (typeof solution !== 'string' || !scoreCompletion(task, solution, problem, { finished: true }).exact) {
      throw contract(
        `solution(${quote(problem)}) is ${quote(solution)}, for which reward(…) is not exact.`,
        'Fix one of the two.',
      );
    }
  }
}
