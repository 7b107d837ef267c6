/**
 * @file The pre-training corpus of the built-in models: arithmetic drills, and multiplication questions answered by a simulated
 * pupil who is careful less than half of the time. A careful answer works in steps and is mostly correct; a sloppy one is a
 * guess and mostly wrong. Reinforcement learning can therefore discover a better strategy: working in steps.
 *
 * Every row is a function of (seed, step, position in the batch). A held-out pair a × b appears in no row, in either order,
 * neither as a question nor as a step.
 */
import { heldOutSplits, type Pair, type Product, pairName } from '../data/multiplication.js';
import { wordings } from '../data/prompt.js';
import { keyedRandom, type Random } from '../util/random.js';
import { encode, eosPiece } from './vocabulary.js';

/** One line of the corpus. */
export interface CorpusRow {
  readonly text: string;
  /** The tokens of `text`. */
  readonly ids: readonly number[];
  /** For each token, whether its prediction counts in the loss: whole completions, results of drills, plans without results. */
  readonly learn: readonly boolean[];
}

/**
 * Composition of the rows, tuned on a development split (see the log). With first factors only up to 12, the model memorises
 * each problem's steps and, on an unseen problem, borrows the split of a similar one. Wider factors, above all in plans, make
 * it derive the split from the second factor.
 */
export const corpusRecipe = {
  steps: 2400,
  batchSize: 128,
  /** Shares of rows: drills, `x + y` questions, plans; the rest are multiplication questions. */
  drillShare: 0.4,
  sumShare: 0.03,
  planShare: 0.1,
  /** Share of the multiplication questions whose first factor is 13..20. */
  wideShare: 0.35,
  wideMaxFactor: 20,
  planMaxFactor: 99,
  /** Largest first factor of a drilled product. */
  drillMaxFactor: 20,
  /** Drilled sums: 5·(1..sumMaxFives) + (2..sumMaxAddend). */
  sumMaxFives: 40,
  sumMaxAddend: 80,
} as const;

/** The longest row: a drill of four sums of the form `200+80=280`, 4·10 tokens and three commas. */
export const maxRowTokens = 43;

/** The seeds and held-out lists of the models in `models/`, fixed before either model was trained. */
export const shippedCorpora = {
  tiny: { seed: 1, heldOut: heldOutSplits.tiny },
  'tiny-b': { seed: 2, heldOut: heldOutSplits['tiny-b'] },
} as const satisfies Record<string, { seed: number; heldOut: readonly Pair[] }>;

/** Behaviour of the simulated pupil. */
export const pupil = {
  /** Share of questions answered carefully. */
  careful: 0.36,
  /** Share of careful answers with one wrong step, whose result later steps use. */
  slips: 0.15,
  /** Share of sloppy answers that happen to be correct. */
  luckyGuess: 0.07,
  /** Probability with which a question with an easy second factor is redrawn, once. */
  redrawEasy: 0.5,
} as const;

/** Second factors whose products take a single step. */
const easyFactors = [2, 3, 4, 5, 10];
const hardFactors = [6, 7, 8, 9, 11, 12];
const drillFactors = [1, ...easyFactors];
const drillItems = 4;

/** The rows of one training step. */
export function corpusBatch(seed: number, step: number, heldOut: readonly Pair[]): CorpusRow[] {
  const random = keyedRandom(seed, 'corpus', step);
  const held = new Set(heldOut.map(([a, b]) => pairName({ a, b })));
  return Array.from({ length: corpusRecipe.batchSize }, () => corpusRow(random, held));
}

function corpusRow(random: Random, held: ReadonlySet<string>): CorpusRow {
  const { drillShare, sumShare, planShare } = corpusRecipe;
  const kind = random.uniform();
  if (kind < drillShare) return drill(random, held);
  if (kind < drillShare + sumShare) {
    const { x, y } = drawSum(random);
    const careful = random.uniform() < pupil.careful;
    const completion = careful ? work(random, [{ left: x, sign: '+', right: y }]) : guess(random, x + y, [10, 1, 2]);
    return row([
      [`What is ${x} + ${y}?\n`, false],
      [completion, true],
    ]);
  }
  if (kind < drillShare + sumShare + planShare) return plan(random, held);
  const problem = drawQuestion(random, held);
  const completion =
    random.uniform() < pupil.careful
      ? work(random, steps(problem))
      : guess(random, problem.a * problem.b, [problem.a, problem.b, 10, 1, 2]);
  return row([
    [wordings.builtin(problem), false],
    [completion, true],
  ]);
}

/** `8×5=40, 35+21=56, ...`: unrelated items, so that each result follows from its own two numbers. */
function drill(random: Random, held: ReadonlySet<string>): CorpusRow {
  const parts: [string, boolean][] = [];
  for (let item = 0; item < drillItems; item++) {
    // The comma after a result is learned too, since 4 and 40 differ only in where the number ends.
    if (item > 0) parts.push([', ', true]);
    if (random.uniform() < 0.5) {
      const { a, b } = drawUntilFree(held, () => ({
        a: random.int(2, corpusRecipe.drillMaxFactor),
        b: random.pick(drillFactors),
      }));
      parts.push([`${a}×${b}=`, false], [`${a * b}`, true]);
    } else {
      const { x, y } = drawSum(random);
      parts.push([`${x}+${y}=`, false], [`${x + y}`, true]);
    }
  }
  return row(parts);
}

/**
 * A worked question of which only the plan is learned: which numbers are multiplied and added, but not their results, nor the
 * decision to work in steps. First factors may therefore be larger than the model can multiply.
 */
function plan(random: Random, held: ReadonlySet<string>): CorpusRow {
  const problem = drawUntilFree(held, () => ({
    a: random.int(2, corpusRecipe.planMaxFactor),
    b: random.pick(hardFactors),
  }));
  const items = worked(steps(problem)).flatMap(({ left, sign, right, result }, i): [string, boolean][] => [
    [i > 0 ? ', ' : '', true],
    [`${left}${sign}${right}=`, true],
    [`${result}`, false],
  ]);
  return row([[`${wordings.builtin(problem)}think: `, false], ...items]);
}

function drawSum(random: Random): { x: number; y: number } {
  return { x: 5 * random.int(1, corpusRecipe.sumMaxFives), y: random.int(2, corpusRecipe.sumMaxAddend) };
}

function drawQuestion(random: Random, held: ReadonlySet<string>): Product {
  const [min, max] = random.uniform() < corpusRecipe.wideShare ? [13, corpusRecipe.wideMaxFactor] : [2, 12];
  const draw = () => drawUntilFree(held, () => ({ a: random.int(min, max), b: random.int(2, 12) }));
  const first = draw();
  return easyFactors.includes(first.b) && random.uniform() < pupil.redrawEasy ? draw() : first;
}

/** Redraws until the pair is not held out. */
function drawUntilFree(held: ReadonlySet<string>, draw: () => Product): Product {
  let product = draw();
  while (held.has(pairName(product))) product = draw();
  return product;
}

/** One step of the working. A null factor or summand stands for an earlier result, in order. */
interface Step {
  readonly left: number | null;
  readonly sign: '×' | '+';
  readonly right: number | null;
}

/** The steps for a × b: one for an easy b, otherwise b is split into 10 + rest or 5 + rest. */
function steps({ a, b }: Product): Step[] {
  if (easyFactors.includes(b)) return [{ left: a, sign: '×', right: b }];
  const base = b > 10 ? 10 : 5;
  return [
    { left: a, sign: '×', right: base },
    { left: a, sign: '×', right: b - base },
    { left: null, sign: '+', right: null },
  ];
}

interface WorkedStep {
  readonly left: number;
  readonly sign: '×' | '+';
  readonly right: number;
  readonly result: number;
}

/** Every step with its numbers. `slip` changes the result of a step, which later steps then use. */
function worked(plan: readonly Step[], slip: (exact: number, step: number) => number = (exact) => exact): WorkedStep[] {
  const done: WorkedStep[] = [];
  for (const [i, step] of plan.entries()) {
    const left = step.left ?? done[0]!.result;
    const right = step.right ?? done[1]!.result;
    const result = slip(step.sign === '×' ? left * right : left + right, i);
    done.push({ left, sign: step.sign, right, result });
  }
  return done;
}

/** `think: 7×10=70, 7×2=14, 70+14=84. answer: 84<eos>`, sometimes with a slip that later steps use. */
function work(random: Random, plan: readonly Step[]): string {
  const slips = random.uniform() < pupil.slips ? random.int(0, plan.length - 1) : -1;
  const done = worked(plan, (exact, i) => (i === slips ? miss(random, exact, [1, 2, 10]) : exact));
  const written = done.map(({ left, sign, right, result }) => `${left}${sign}${right}=${result}`);
  return `think: ${written.join(', ')}. answer: ${done.at(-1)!.result}${eosPiece}`;
}

/** `answer: 46<eos>`: sometimes correct, otherwise off by one of `distances`. */
function guess(random: Random, exact: number, distances: readonly number[]): string {
  const value = random.uniform() < pupil.luckyGuess ? exact : miss(random, exact, distances);
  return `answer: ${value}${eosPiece}`;
}

/** A positive number at one of `distances` from `exact`. */
function miss(random: Random, exact: number, distances: readonly number[]): number {
  const distance = random.pick(distances);
  return random.uniform() < 0.5 && exact > distance ? exact - distance : exact + distance;
}

function row(parts: readonly (readonly [text: string, learn: boolean])[]): CorpusRow {
  const encoded = parts.map(([text, learn]) => ({ ids: encode(text), learn }));
  return {
    text: parts.map(([text]) => text).join(''),
    ids: encoded.flatMap(({ ids }) => ids),
    learn: encoded.flatMap(({ ids, learn }) => ids.map(() => learn)),
  };
}
