/**
 * @file The problems of a run: distinct training problems, the rows drawn from them, and test problems that share no
 * cluster with them. Depends only on the task and the seed.
 */
import { createHash } from 'node:crypto';
import { UserError } from '../util/errors.js';
import { counted } from '../util/format.js';
import { quote } from '../util/json.js';
import { keyedRandom, type Random } from '../util/random.js';
import type { ChatMessage, Question } from './prompt.js';
import { questionOf, type Task } from './task.js';

export interface Problem<P = unknown> {
  /** Identifies the problem in files and random keys: its prompt, or the text of its messages. */
  readonly id: string;
  /** The conversation to continue, if the task gives one instead of a prompt. */
  readonly messages?: readonly ChatMessage[];
  readonly cluster: string;
  readonly value: P;
}

export interface ProblemSet<P = unknown> {
  /** Distinct training problems, in the order first drawn. Stage 1 samples each once. */
  readonly train: readonly Problem<P>[];
  /** The training rows, `numTrain` of them, as indices into `train`; one epoch of stage 2 visits each row. */
  readonly rows: readonly number[];
  /** Distinct test problems. */
  readonly test: readonly Problem<P>[];
  /** Distinct problems set aside from training to choose a model by; absent if there are none. Neither trained on nor tested. */
  readonly validation?: readonly Problem<P>[];
  /** Notes for the user, in full sentences. */
  readonly notes: readonly string[];
}

export interface ProblemSetOptions {
  readonly seed: number;
  /** Training rows, drawn with replacement. */
  readonly numTrain: number;
  /** Number of test problems requested. */
  readonly numTest: number;
  /** `seed` draws the test problems from the training problems, as the original project did. */
  readonly overlap: 'none' | 'seed';
}

/** @throws UserError when the task's functions break their contract, or leave one side of the split empty. */
export function buildProblemSet<P>(task: Task<P>, options: ProblemSetOptions): ProblemSet<P> {
  const { numTrain, numTest, overlap } = options;
  const draw = drawer(task, options.seed);
  const split =
    overlap === 'seed'
      ? { rows: draw('train', numTrain), test: distinct(draw('test', numTest)) }
      : task.heldOut
        ? { rows: draw('train', numTrain), test: distinct(draw('heldOut', numTest)) }
        : setAside(draw, keyedRandom(options.seed, 'problems', 'split'), options);
  const { rows, test } = split;
  if (rows.length < numTrain || test.length === 0) {
    throw new UserError({
      problem: `Task "${task.name}" has too few distinct problems for a training and a test set.`,
      expected: `${numTrain} training rows and at least one test problem that shares no cluster with them`,
      found: `${rows.length} training rows and ${test.length} test problems`,
    });
  }
  const train = distinct(rows);
  const index = new Map(train.map((problem, i) => [problem, i]));
  return { train, rows: rows.map((row) => index.get(row)!), test, notes: checkSplit(task.name, rows, test, options) };
}

/** Notes about a split. Rejects a split that leaks test problems unless `overlap` allows it. */
function checkSplit(
  taskName: string,
  rows: readonly Problem[],
  test: readonly Problem[],
  { numTest, overlap }: ProblemSetOptions,
): string[] {
  const trained = new Set(rows.map((row) => row.cluster));
  const shared = test.filter((problem) => trained.has(problem.cluster));
  if (overlap === 'seed') {
    return [
      `Overlap "seed": ${shared.length} of the ${test.length} test problems (or their mirrors) are also trained on, so ` +
        'the test measures memorisation, not learning.',
    ];
  }
  if (shared[0] !== undefined) {
    throw new UserError({
      problem: `Task "${taskName}" draws ${quote(shared[0].id)}, or a problem of its cluster, for training although it is held out.`,
      fix: 'Let heldOut(random, n) return only problems whose clusters problems(random, n) never draws.',
    });
  }
  return test.length < numTest
    ? [`Only ${counted(test.length, 'problem')} can be held out, fewer than --num-test ${numTest}.`]
    : [];
}

/** Attempts to fill `numTrain` rows without the problems set aside for testing. */
const maxRedraws = 20;

type Draw<P> = (part: 'train' | 'test' | 'heldOut' | 'more', n: number, turn?: number) => Problem<P>[];

/** Sets whole clusters aside for testing, at most half of them, then fills up the training rows from the others. */
function setAside<P>(
  draw: Draw<P>,
  random: Random,
  { numTrain, numTest }: ProblemSetOptions,
): { rows: Problem<P>[]; test: Problem<P>[] } {
  const pool = draw('train', numTrain + numTest);
  const problems = distinct(pool);
  const clusters = random.shuffle([...new Set(problems.map((problem) => problem.cluster))]);
  const held = new Set<string>();
  const test: Problem<P>[] = [];
  for (const cluster of clusters.slice(0, Math.floor(clusters.length / 2))) {
    if (test.length >= numTest) break;
    held.add(cluster);
    test.push(...problems.filter((problem) => problem.cluster === cluster));
  }
  const rows: Problem<P>[] = [];
  const fill = (drawn: readonly Problem<P>[]) => rows.push(...drawn.filter(({ cluster }) => !held.has(cluster)));
  fill(pool);
  for (let turn = 0; rows.length < numTrain && turn < maxRedraws; turn++) fill(draw('more', numTrain, turn));
  return { rows: rows.slice(0, numTrain), test: test.slice(0, numTest) };
}

/** Draws problems with a separate random key for each part, checks them, and represents equal ones by the same object. */
function drawer<P>(task: Task<P>, seed: number): Draw<P> {
  const known = new Map<string, Problem<P>>();
  return (part, n, turn = 0) => {
    const random = keyedRandom(seed, 'problems', part, turn);
    const values = part === 'heldOut' ? task.heldOut!(random, n) : task.problems(random, n);
    const enough = Array.isArray(values) && (part === 'heldOut' ? values.length <= n : values.length === n);
    if (!enough) {
      throw new UserError({
        problem: `${part === 'heldOut' ? part : 'problems'}(random, ${n}) of task "${task.name}" returned an invalid value.`,
        expected: `an array of ${part === 'heldOut' ? 'at most ' : ''}${n} problems`,
        found: Array.isArray(values) ? `${values.length} problems` : quote(values),
      });
    }
    return values.map((value) => identify(task, value, part === 'heldOut' ? part : 'problems', known));
  };
}

/** SHA-256 of problems and their order, in hexadecimal; identifies a problem set. */
export function hashProblems(problems: readonly Problem[]): string {
  return createHash('sha256')
    .update(JSON.stringify(problems.map(({ id, value }) => [id, value])))
    .digest('hex');
}

function identify<P>(task: Task<P>, value: P, what: string, known: Map<string, Problem<P>>): Problem<P> {
  const call = (read: (value: P) => unknown, name: string) => {
    try {
      return read(value);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new UserError(`${name}() of task "${task.name}" failed for problem ${quote(value)}: ${reason}.`, { cause });
    }
  };
  const refuse = (name: string, expected: string, found: unknown) =>
    new UserError({
      problem: `${name}() of task "${task.name}" returned an invalid value for problem ${quote(value)} of ${what}().`,
      expected,
      found: quote(found),
    });
  const text = (result: unknown, name: string) => {
    if (typeof result === 'string' && result !== '') return result;
    throw refuse(name, 'a nonempty string', result);
  };
  const asked = task.messages ? 'messages' : 'prompt';
  const question = call((problem) => questionOf(task, problem), asked);
  const messages = task.messages ? question : undefined;
  if (messages !== undefined && !isConversation(messages)) {
    throw refuse('messages', 'a list of { role, content } whose last role is user', messages);
  }
  const id = messages === undefined ? text(question, 'prompt') : messages.map(named).join('\n\n');
  const cluster = task.cluster
    ? text(
        call((problem) => task.cluster?.(problem), 'cluster'),
        'cluster',
      )
    : id;
  const earlier = known.get(id);
  if (!earlier) {
    const problem = { id, cluster, value, ...(messages && { messages }) };
    known.set(id, problem);
    return problem;
  }
  if (JSON.stringify(earlier.value) !== JSON.stringify(value)) {
    throw new UserError({
      problem: `Two different problems of task "${task.name}" have the same prompt ${quote(id)}.`,
      expected: 'a prompt that identifies its problem',
      found: `${quote(earlier.value)} and ${quote(value)}`,
    });
  }
  return earlier;
}

/** The question of a problem, without the surrounding prompt. */
export function questionOfProblem({ id, messages }: Pick<Problem, 'id' | 'messages'>): Question {
  return messages ?? id;
}

/** One message in a problem's id; a user's message has no prefix. */
function named({ role, content }: ChatMessage): string {
  return role === 'user' ? content : `${role}: ${content}`;
}

const roles = ['system', 'user', 'assistant'];

function isConversation(messages: unknown): messages is readonly ChatMessage[] {
  return (
    Array.isArray(messages) &&
    messages.every((message) => roles.includes(message?.role) && typeof message?.content === 'string') &&
    messages.at(-1)?.role === 'user' &&
    messages.at(-1)?.content !== ''
  );
}

/** Each problem once, in order of first appearance. Equal problems are the same object. */
function distinct<P>(problems: readonly Problem<P>[]): Problem<P>[] {
  return [...new Set(problems)];
}
