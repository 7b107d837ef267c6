/**
 * @file The rows of an update in the Tinker API's form, and how a server scales their loss. A row of P prompt and C
 * completion tokens becomes a sequence of L = P + C - 1 inputs and targets, whose last C targets are the completion.
 *
 * Servers differ: the loss of a sequence is the sum or the mean over its tokens, and that of a batch the sum or the mean
 * over its sequences. A wrong factor would raise no error; it would train a different objective, in which short completions
 * weigh more. A probe takes single steps of plain gradient descent, each with a new adapter: if the server scales as
 * assumed, they move one token's log-prob equally far at rates that make up for it.
 */

import type { CompletionRow } from '../../model/network/log-probs.js';
import { UserError } from '../../util/errors.js';
import type { Arithmetic, RowLoss } from '../row-loss.js';
import type { TinkerAdam, TinkerClient, TinkerDatum } from './client.js';

/** A sequence of tokens; every token except the first is a target. */
function sequenceDatum(ids: readonly number[], inputs: TinkerDatum['inputs']): TinkerDatum {
  return { tokens: ids.slice(0, -1), targets: ids.slice(1), inputs };
}

const tokensOfRow = ({ promptIds, completionIds }: CompletionRow): number[] => [
  ...Array.from(promptIds),
  ...Array.from(completionIds),
];

/** Pads values `[C]` of a completion's tokens to values `[L]` of the row's targets, with 0 for the prompt. */
function padded({ promptIds }: CompletionRow, values: readonly number[]): number[] {
  return [...new Array<number>(promptIds.length - 1).fill(0), ...values];
}

/** A datum for a pass that only computes log-probs. */
export function scoringDatum(row: CompletionRow): TinkerDatum {
  const ones = new Array<number>(row.completionIds.length).fill(1);
  return sequenceDatum(tokensOfRow(row), { weights: padded(row, ones) });
}

/**
 * A datum for the loss `importance_sampling`, -sum(exp(log π - logProbs) · advantage). If `logProbs` are those of the
 * current model, its gradient is -advantage times that of the completion's log-prob.
 */
export function trainingDatum(row: CompletionRow, logProbs: ArrayLike<number>, advantage: number): TinkerDatum {
  const advantages = new Array<number>(row.completionIds.length).fill(advantage);
  return sequenceDatum(tokensOfRow(row), {
    logprobs: padded(row, Array.from(logProbs)),
    advantages: padded(row, advantages),
  });
}

/** A number and its derivative in δ. */
interface Dual {
  readonly value: number;
  readonly slope: number;
}

/** Forward-mode differentiation: evaluates a loss together with its derivative in δ. */
const duals: Arithmetic<Dual> = {
  sub: (a, b) => ({ value: a.value - b.value, slope: a.slope - b.slope }),
  mul(a, b) {
    const { value, slope } = typeof a === 'number' ? { value: a, slope: 0 } : a;
    return { value: value * b.value, slope: slope * b.value + value * b.slope };
  },
  square: (x) => ({ value: x.value ** 2, slope: 2 * x.value * x.slope }),
  neg: (x) => ({ value: -x.value, slope: -x.slope }),
};

/** A row's loss and its derivative in δ; for A*PO the derivative is -2·beta2·(r - V* - beta2·δ). */
export function lossAndSlope(loss: RowLoss, delta: number, advantage: number): { value: number; slope: number } {
  return loss(duals, { delta: { value: delta, slope: 1 }, advantage: { value: advantage, slope: 0 } });
}

/** Factors on the rows' advantages with which the server minimises the mean over rows of sums over tokens. */
export interface LossScale {
  /** Description for the user. */
  readonly title: string;
  /** @param lengths targets L of each row of the batch. */
  factors(lengths: readonly number[]): number[];
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

interface KnownScale extends LossScale {
  /** Factors on the gradient under this scale: for `long` instead of `short` targets, and for both sequences, not one. */
  expected(short: number, long: number): readonly [byLength: number, byBatch: number];
}

const knownScales: readonly KnownScale[] = [
  {
    title: 'sums the loss over tokens and sequences',
    factors: (lengths) => lengths.map(() => 1 / lengths.length),
    expected: () => [1, 1],
  },
  {
    title: "averages the loss over a sequence's tokens and over sequences",
    factors: (lengths) => [...lengths],
    expected: (short, long) => [short / long, 1 / 2],
  },
  {
    title: "averages the loss over a sequence's tokens and sums it over sequences",
    factors: (lengths) => lengths.map((length) => length / lengths.length),
    expected: (short, long) => [short / long, 1],
  },
  {
    title: 'sums the loss over tokens and averages it over sequences',
    factors: (lengths) => lengths.map(() => 1),
    expected: () => [1, 1 / 2],
  },
  {
    title: 'averages the loss over all tokens of a batch',
    factors: (lengths) => lengths.map(() => sum(lengths) / lengths.length),
    expected: (short, long) => [short / long, short / (short + long)],
  },
];

/** Adam without memory and with a huge epsilon is gradient descent: the step is learning_rate / eps times the gradient. */
const hugeEpsilon = 1e6;
const descent = (rate: number): TinkerAdam => ({
  learning_rate: rate * hugeEpsilon,
  beta1: 0,
  beta2: 0,
  eps: hugeEpsilon,
  weight_decay: 0,
});

/**
 * A step should move the target's log-prob by this share of it: many times the rounding of a server that computes in
 * bfloat16, whose log-probs have 8 bits.
 */
const wantedMove = { least: 0.08, aim: 0.125, most: 0.18 };
/** So small that the first step cannot bring a token's probability to 0 or 1. */
const firstRate = 1e-4;
const maxTries = 12;
/** The long sequence has this many times the targets of the short one. */
const lengthRatio = 8;
/** Largest |log| of the ratio of two moves that counts as agreement; under a wrong assumption it is log 2 or more. */
const tolerance = 0.3;

/**
 * Probes the server with adapters of its own, which are unloaded again.
 *
 * @param ids a prompt: at least 3 tokens.
 * @throws UserError when the server scales its loss in no known way, or does not learn.
 */
export async function probeScale(
  client: TinkerClient,
  baseModel: string,
  ids: readonly number[],
  lora: { readonly rank: number; readonly seed: number },
): Promise<LossScale> {
  /** Runs `work` with a new model: always the same adapter, which changes nothing yet. */
  const withModel = async <T>(work: (model: string) => Promise<T>): Promise<T> => {
    const model = await client.createModel(baseModel, lora);
    try {
      return await work(model);
    } finally {
      await client.unloadModel(model);
    }
  };
  // The least likely of the early tokens has the largest gradient. Later tokens do not affect its log-prob.
  const [logProbs] = await withModel((model) => client.forward(model, [scored(ids)]));
  const early = logProbs!.slice(0, Math.max(1, Math.ceil(ids.length / 2)));
  const before = Math.min(...early);
  const target = early.indexOf(before);
  const [short, long] = [target + 1, lengthRatio * (target + 1)];
  const repeated = Array.from({ length: long + 1 }, (_, i) => ids[i % ids.length]!);

  const datum = (length: number, advantage: number): TinkerDatum => {
    const at = (value: number) => Array.from({ length }, (_, i) => (i === target ? value : 0));
    return sequenceDatum(repeated.slice(0, length + 1), { logprobs: at(before), advantages: at(advantage) });
  };
  /** By how much one step raises the target's log-prob, in nats. */
  const moveBy = async (data: readonly TinkerDatum[], rate: number): Promise<number> =>
    await withModel(async (model) => {
      await client.forwardBackward(model, data);
      await client.optimStep(model, descent(rate));
      const [after] = await client.forward(model, [scored(repeated.slice(0, short + 1))]);
      return after![target]! - before;
    });

  // SkyRL tx 0.3.0 keeps the gradient of a program that was killed, for the next adapter in its place. This step uses it up.
  await moveBy([datum(short, 0)], 0);
  const alone = [datum(short, 1)];
  const { least, aim, most } = wantedMove;
  let rate = firstRate;
  let unit = 0;
  for (let tries = 1; ; tries += 1) {
    unit = await moveBy(alone, rate);
    const share = unit / Math.abs(before);
    if (share >= least && share <= most) break;
    if (tries === maxTries || !Number.isFinite(share)) {
      throw new UserError({
        problem: `The model on the Tinker server at ${client.url} does not learn: gradient descent does not raise a token's log-prob as expected.`,
        found: `${unit.toPrecision(3)} nats at a rate of ${rate.toPrecision(3)}`,
      });
    }
    rate *= share > 0 ? Math.min(100, Math.max(0.01, aim / share)) : 10;
  }

  /** How far data move the target, in units, at a rate that makes up for `factor`; measured once for each. */
  const measure = (data: readonly TinkerDatum[]) => {
    const known = new Map<number, number>();
    return async (factor: number): Promise<number> => {
      const move = known.get(factor) ?? (await moveBy(data, rate / factor)) / unit;
      known.set(factor, move);
      return move;
    };
  };
  const byLength = measure([datum(long, 1)]);
  const byBatch = measure([datum(short, 1), datum(long, 0)]);
  const agrees = (move: number) => Math.abs(Math.log(move)) <= tolerance;
  for (const scale of knownScales) {
    const [length, batch] = scale.expected(short, long);
    if (agrees(await byLength(length)) && agrees(await byBatch(batch))) return scale;
  }
  throw new UserError({
    problem: `The Tinker server at ${client.url} scales its loss in an unknown way.`,
    expected: 'a sum or mean over tokens and a sum or mean over sequences',
    found: `${(await byLength(1)).toPrecision(3)} times the step for a sequence of ${long} instead of ${short} targets, ${(await byBatch(1)).toPrecision(3)} times for two sequences instead of one`,
  });
}

const scored = (ids: readonly number[]) => sequenceDatum(ids, { weights: ids.slice(1).map(() => 1) });
