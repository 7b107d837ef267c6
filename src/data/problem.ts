/**
 * @file The problems of a run: distinct training problems, the rows drawn from them, and test problems that share no
 * cluster with them. A function of the task and the seed. Knows nothing of models.
 */
import { createHash } from 'node:crypto';
import { UserError } from '../errors.js';
import { quote } from '../util/json.js';
import { keyedRandom } from '../util/random.js';
import type { Task } from './task.js';

export interface Problem<P = unknown> {
  /** Identifies the problem in files and random keys: its prompt as the task words it. */
  readonly id: string;
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
  /** What the user should be told, in whole sentences. */
  readonly notes: readonly string[];
}

export interface ProblemSetOptions {
  readonly seed: number;
  /** Training rows, drawn with replacement. */
  readonly numTrain: number;
  /** Test problems wanted. */
  readonly numTest: number;
  /** `seed` draws the test problems from the training problems, as the project this one began from did. */
  readonly overlap: 'none' | 'seed';
}

/** Draws of more training rows before giving up on filling `numTrain` beside a set-aside test. */
const maxRedraws = 20;

/** @throws UserError when the task's functions break their contract, or leave one side of the split empty. */
export function buildProblemSet<P>(task: Task<P>, options: ProblemSetOptions): ProblemSet<P> {
  const { seed, numTrain, numTest, overlap } = options;
  const random = (part: string, turn = 0) => keyedRandom(seed, 'problems', part, turn);
  const known = new Map<string, Problem<P>>();
  const take = (values: readonly P[], what: string) => values.map((value) => identify(task, value, what, known));
  const draw = (part: string, n: number, turn = 0) => {
    const values = task.problems(random(part, turn), n);
    if (!Array.isArray(values) || values.length !== n) throw wrongCount(task.name, n, values);
    return take(values, 'problems');
  };

  let rows: Problem<P>[];
  let test: Problem<P>[];
  const notes: string[] = [];
  if (overlap === 'seed') {
    rows = draw('train', numTrain);
    test = distinct(draw('test', numTest));
    const trained = new Set(rows.map((row) => row.cluster));
    const shared = test.filter((problem) => trained.has(problem.cluster)).length;
    notes.push(
      `Overlap "seed": ${shared} of the ${test.length} test problems (or their mirrors) are also trained on, so the test ` +
        'shows memory, not learning.',
    );
  } else if (task.heldOut) {
    rows = draw('train', numTrain);
    test = distinct(take(task.heldOut(random('test'), numTest), 'heldOut'));
    const held = new Set(test.map((problem) => problem.cluster));
    const leak = rows.find((row) => held.has(row.cluster));
    if (leak) {
      throw new UserError({
        problem: `Task "${task.name}" draws ${quote(leak.id)} for training although its cluster is held out for testing.`,
        fix: 'Let heldOut(random, n) return only problems that problems(random, n) never draws.',
      });
    }
  } else {
    // Set whole clusters aside from what was drawn, then fill the rows up from further draws.
    const pool = draw('train', numTrain + numTest);
    const problems = distinct(pool);
    const clusters = random('split').shuffle([...new Set(problems.map((problem) => problem.cluster))]);
    const held = new Set<string>();
    test = [];
    // At most half of the clusters: training needs the rest.
    for (const cluster of clusters.slice(0, Math.floor(clusters.length / 2))) {
      if (test.length >= numTest) break;
      held.add(cluster);
      test.push(...problems.filter((problem) => problem.cluster === cluster));
    }
    test = test.slice(0, numTest);
    const keep = (problems: readonly Problem<P>[]) => problems.filter((problem) => !held.has(problem.cluster));
    rows = keep(pool);
    for (let turn = 1; rows.length < numTrain && turn <= maxRedraws; turn++) {
      rows.push(...keep(draw('train', numTrain, turn)));
    }
    rows = rows.slice(0, numTrain);
  }

  if (rows.length < numTrain || test.length === 0) {
    throw new UserError({
      problem: `Task "${task.name}" has too few different problems to be split into training and test problems.`,
      expected: `${numTrain} training rows and at least one test problem that shares no cluster with them`,
      found: `${rows.length} training rows and ${test.length} test problems`,
    });
  }
  if (test.length < numTest && overlap === 'none') {
    notes.push(`Only ${test.length} held-out problems exist (${numTest} were asked for); all of them are evaluated.`);
  }
  const train = distinct(rows);
  const index = new Map(train.map((problem, i) => [problem.id, i]));
  return { train, rows: rows.map((row) => index.get(row.id)!), test, notes };
}

/** A hash of problems and their order, to tell two problem sets apart: 64 hexadecimal digits of SHA-256. */
export function hashProblems(problems: readonly Problem[]): string {
  return createHash('sha256')
    .update(JSON.stringify(problems.map(({ id, value }) => [id, value])))
    .digest('hex');
}

function identify<P>(task: Task<P>, value: P, what: string, known: Map<string, Problem<P>>): Problem<P> {
  const text = (read: (value: P) => unknown, name: string) => {
    let result: unknown;
    try {
      result = read(value);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new UserError(`${name}() of task "${task.name}" failed for problem ${quote(value)}: ${reason}.`, { cause });
    }
    if (typeof result === 'string' && result !== '') return result;
    throw new UserError({
      problem: `${name}() of task "${task.name}" is not usable for problem ${quote(value)}, which ${what}() returned.`,
      expected: 'a text that is not empty',
      found: quote(result),
    });
  };
  const id = text((problem) => task.prompt(problem), 'prompt');
  const cluster = task.cluster ? text((problem) => task.cluster?.(problem), 'cluster') : id;
  const earlier = known.get(id);
  if (!earlier) {
    const problem = { id, cluster, value };
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

/** Each problem once, in order of first appearance. `identify` gives equal problems one object. */
function distinct<P>(problems: readonly Problem<P>[]): Problem<P>[] {
  return [...new Set(problems)];
}

function wrongCount(taskName: string, n: number, values: unknown): UserError {
  return new UserError({
    problem: `problems(random, ${n}) of task "${taskName}" is not usable.`,
    expected: `an array of ${n} problems`,
    found: Array.isArray(values) ? `${values.length} problems` : quote(values),
  });
}
