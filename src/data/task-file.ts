/**
 * @file Loads and checks a `--task` file: JavaScript or TypeScript that exports a task (see data/task.ts). It may lie
 * anywhere and still `import { defineTask } from 'tinyzero'`. The file is code of the user's own and runs as such.
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
  /** SHA-256 of the file, in hexadecimal; files that it imports are not in it. */
  readonly hash: string;
}

/** Gives what `import … from 'tinyzero'` means in a task file: the library's own module, loaded when a task needs it. */
export type TaskApi = () => Promise<Readonly<Record<string, unknown>>>;

const extensions = ['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts'];
const required = ['problems', 'reward'] as const;
const optional = ['prompt', 'messages', 'heldOut', 'cluster', 'solution'] as const;

const hint = 'A task file ends with `export default defineTask({ name, problems, prompt, reward })`.';

/**
 * Loads the task of `path`. `api` is what `import … from 'tinyzero'` gives it: the very objects of this process.
 *
 * @throws UserError when the file is missing, cannot be compiled, fails, exports no task, or exports one whose functions
 *   do not keep their contract on a few problems.
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
  // The name resolves to this file, which exists wherever tinyzero is installed, and the module cache has `api` for it:
  // compiling the package a second time would give the task other classes and another tensor engine than ours.
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
  if (typeof name !== 'string' || name.trim() === '') throw refuse('name to be a text', quote(name));
  for (const member of required) {
    if (typeof members[member] !== 'function') throw refuse(`${member} to be a function`, quote(members[member]));
  }
  for (const member of optional) {
    if (!['function', 'undefined'].includes(typeof members[member])) {
      throw refuse(`${member} to be a function, or to be left out`, quote(members[member]));
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

/** Problems that a task is tried out on. */
const tried = 4;

/** Calls every function the way a run will, so that its mistakes show before a model is loaded. */
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
      problem: `In ${path}, problems(random, ${tried}) is not usable.`,
      expected: `an array of ${tried} problems`,
      found: Array.isArray(problems) ? `${problems.length} problems` : quote(problems),
    });
  }
  // Compared as JSON, which is how problems are stored.
  if (JSON.stringify(call('problems', () => task.problems(random(), tried))) !== JSON.stringify(problems)) {
    throw contract(
      'problems(random, n) gives other problems for the same random numbers.',
      'Draw with `random` (uniform, int, pick, shuffle, normal), not with Math.random or the clock.',
    );
  }
  for (const problem of problems) {
    const asked = task.messages ? 'messages' : 'prompt';
    const question = call(asked, () => questionOf(task, problem));
    if (typeof question !== 'string' && !task.messages) {
      throw contract(`prompt(${quote(problem)}) is ${quote(question)}.`, 'It must be a text that is not empty.');
    }
    if (task.messages && !Array.isArray(question)) {
      throw contract(`messages(${quote(problem)}) is ${quote(question)}.`, 'It must be a list of { role, content }.');
    }
    const prompt = contentOf(question);
    if (prompt === '') {
      throw contract(`${asked}(${quote(problem)}) is empty.`, 'It must be a text that is not empty.');
    }
    // A judge costs money or time, and need not answer alike twice: it is asked when the run needs it.
    if (task.asyncReward) continue;
    const first = scoreCompletion(task, prompt, problem, { finished: true });
    if (JSON.stringify(scoreCompletion(task, prompt, problem, { finished: true })) !== JSON.stringify(first)) {
      throw contract(
        `reward(${quote(prompt)}, ${quote(problem)}) differs from one call to the next.`,
        'A reward must depend on its arguments alone.',
      );
    }
    scoreCompletion(task, '', problem, { finished: false });
    if (!task.solution) continue;
    const solution = call('solution', () => task.solution?.(problem));
    if (typeof solution !== 'string' || !scoreCompletion(task, solution, problem, { finished: true }).exact) {
      throw contract(
        `solution(${quote(problem)}) is ${quote(solution)}, which reward(…) does not count as exact.`,
        'Fix one of the two.',
      );
    }
  }
}
