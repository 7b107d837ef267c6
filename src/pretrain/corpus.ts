/**
 * @file What the built-in models read in pre-training: arithmetic drills and multiplication questions answered by a pupil
 * who is careful less than half of the time. A careful answer works in steps and is mostly right; a sloppy one guesses and
 * is mostly wrong. So reinforcement learning has a strategy to discover: to work instead of guessing.
 *
 * Every row is a function of (seed, phase, step). A held-out pair a × b appears in no row, neither asked nor stated, in
 * either order. Text and ids only; the loop that trains on them is elsewhere.
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
  /** For each token, whether the loss counts its prediction: completions whole, of drills the results. */
  readonly learn: readonly boolean[];
}

export interface CorpusPhase {
  readonly name: string;
  readonly steps: number;
  readonly batchSize: number;
  /** Shares of rows: drills, `x + y` questions; the rest are multiplication questions. */
  readonly drillShare: number;
  readonly sumShare: number;
  /** Share of the multiplication questions whose first factor is 13..20. */
  readonly wideShare: number;
  /** Largest first factor of a drilled product. */
  readonly drillMaxFactor: number;
  /** Drilled sums: 5·(1..sumMaxFives) + (2..sumMaxAddend). */
  readonly sumMaxFives: number;
  readonly sumMaxAddend: number;
}

/**
 * The two phases. The second is needed: with factors to 12 only, the model learns working by rote and, on an unseen
 * problem, borrows a split from a sibling; wider factors make it compute.
 */
export const corpusPhases: readonly CorpusPhase[] = [
  {
    name: 'tables',
    steps: 1500,
    batchSize: 128,
    drillShare: 0.4,
    sumShare: 0.03,
    wideShare: 0,
    drillMaxFactor: 12,
    sumMaxFives: 24,
    sumMaxAddend: 48,
  },
  {
    name: 'wider',
    steps: 620,
    batchSize: 128,
    drillShare: 0.35,
    sumShare: 0.03,
    wideShare: 0.5,
    drillMaxFactor: 20,
    sumMaxFives: 40,
    sumMaxAddend: 80,
  },
];

/** The longest row: a drill of four sums of the form `200+80=280`, 4·10 tokens and three commas. */
export const maxRowTokens = 43;

/** The seeds and held-out lists of the models in `models/`; both fixed before either model was trained. */
export const shippedCorpora = {
  tiny: { seed: 1, heldOut: heldOutSplits.tiny },
  'tiny-b': { seed: 2, heldOut: heldOutSplits['tiny-b'] },
} as const satisfies Record<string, { seed: number; heldOut: readonly Pair[] }>;

/** How the imagined pupil works. */
const pupil = {
  /** Share of questions answered with care. */
  careful: 0.4,
  /** Share of careful answers with one wrong step, which the later steps follow. */
  slips: 0.15,
  /** Share of sloppy answers that happen to be right. */
  luckyGuess: 0.1,
  /** A question with an easy second factor is replaced by another with this chance, once. */
  redrawEasy: 0.5,
} as const;

/** Second factors whose products take one step. */
const easyFactors = [2, 3, 4, 5, 10];
const drillFactors = [1, ...easyFactors];
const drillItems = 4;

/** The rows of one training step. */
export function corpusBatch(seed: number, phase: CorpusPhase, step: number, heldOut: readonly Pair[]): CorpusRow[] {
  const random = keyedRandom(seed, 'corpus', phase.name, step);
  const held = new Set(heldOut.map(([a, b]) => pairName({ a, b })));
  return Array.from({ length: phase.batchSize }, () => corpusRow(random, phase, held));
}

function corpusRow(random: Random, phase: CorpusPhase, held: ReadonlySet<string>): CorpusRow {
  const kind = random.uniform();
  if (kind < phase.drillShare) return drill(random, phase, held);
  if (kind < phase.drillShare + phase.sumShare) {
    const { x, y } = drawSum(random, phase);
    const careful = random.uniform() < pupil.careful;
    const completion = careful ? work(random, [{ left: x, sign: '+', right: y }]) : guess(random, x + y, [10, 1, 2]);
    return row([
      [`What is ${x} + ${y}?\n`, false],
      [completion, true],
    ]);
  }
  const problem = drawQuestion(random, phase, held);
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
function drill(random: Random, phase: CorpusPhase, held: ReadonlySet<string>): CorpusRow {
  const parts: [string, boolean][] = [];
  for (let item = 0; item < drillItems; item++) {
    // The comma after a result is learned with it: 4 and 40 differ only in where the number ends.
    if (item > 0) parts.push([', ', true]);
    if (random.uniform() < 0.5) {
      const { a, b } = drawUntilFree(held, () => ({
        a: random.int(2, phase.drillMaxFactor),
        b: random.pick(drillFactors),
      }));
      parts.push([`${a}×${b}=`, false], [`${a * b}`, true]);
    } else {
      const { x, y } = drawSum(random, phase);
      parts.push([`${x}+${y}=`, false], [`${x + y}`, true]);
    }
  }
  return row(parts);
}

function drawSum(random: Random, { sumMaxFives, sumMaxAddend }: CorpusPhase): { x: number; y: number } {
  return { x: 5 * random.int(1, sumMaxFives), y: random.int(2, sumMaxAddend) };
}

function drawQuestion(random: Random, phase: CorpusPhase, held: ReadonlySet<string>): Product {
  const [min, max] = random.uniform() < phase.wideShare ? [13, 20] : [2, 12];
  const draw = () => drawUntilFree(held, () => ({ a: random.int(min, max), b: random.int(2, 12) }));
  const first = draw();
  return easyFactors.includes(first.b) && random.uniform() < pupil.redrawEasy ? draw() : first;
}

/** Draws again until the pair is not held out. */
function drawUntilFree(held: ReadonlySet<string>, draw: () => Product): Product {
  let product = draw();
  while (held.has(pairName(product))) product = draw();
  return product;
}

/** One step of working. A factor or summand that is null stands for an earlier result, first to first. */
interface Step {
  readonly left: number | null;
  readonly sign: '×' | '+';
  readonly right: number | null;
}

/** How a × b is worked out: at once for an easy b, else split into b = 10 + rest or b = 5 + rest. */
function steps({ a, b }: Product): Step[] {
  if (easyFactors.includes(b)) return [{ left: a, sign: '×', right: b }];
  const base = b > 10 ? 10 : 5;
  return [
    { left: a, sign: '×', right: base },
    { left: a, sign: '×', right: b - base },
    { left: null, sign: '+', right: null },
  ];
}

/** `think: 7×10=70, 7×2=14, 70+14=84. answer: 84<eos>`, now and then with one slip that is carried on. */
function work(random: Random, plan: readonly Step[]): string {
  const slip = random.uniform() < pupil.slips ? random.int(0, plan.length - 1) : -1;
  const results: number[] = [];
  const written: string[] = [];
  for (const [i, step] of plan.entries()) {
    const left = step.left ?? results[0]!;
    const right = step.right ?? results[1]!;
    const exact = step.sign === '×' ? left * right : left + right;
    const result = i === slip ? miss(random, exact, [1, 2, 10]) : exact;
    results.push(result);
    written.push(`${left}${step.sign}${right}=${result}`);
  }
  return `think: ${written.join(', ')}. answer: ${results.at(-1)}${eosPiece}`;
}

/** `answer: 46<eos>`: right now and then, else off by one of `distances`. */
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
