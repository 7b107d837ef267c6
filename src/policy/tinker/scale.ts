/**
 * @file Probes how a server scales its loss. Servers differ: the loss of a sequence is the sum or the mean over its tokens, and that
 * of a batch the sum or the mean over its sequences. A wrong factor would raise no error; it would train a different objective,
 * in which short completions weigh more. The probe takes small steps of plain gradient descent on a separate model and compares
 * how far they move one token's log-prob.
 */
import { UserError } from '../../util/errors.js';
import type { TinkerAdam, TinkerClient, TinkerDatum } from './client.js';
import { sequenceDatum } from './rows.js';

/** The factor by which a row's advantage is multiplied so that the server minimises the mean over rows of sums over tokens. */
export interface LossScale {
  /** Description for the user. */
  readonly title: string;
  /** @param lengths targets L of each row of the batch. */
  factors(lengths: readonly number[]): number[];
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

interface KnownScale extends LossScale {
  /** What {@link probeScale} measures on a server with this scale. */
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

/** A step should move the log-prob this far, in nats: well above rounding, small enough to be linear. */
const wantedMove = { least: 0.02, aim: 0.06, most: 0.2 };
const firstRate = 1e-3;
const maxTries = 12;
/** The long sequence has this many times the targets of the short one. */
const lengthRatio = 8;
/** Largest |log(measured / expected)| that counts as agreement; the nearest expected values differ by log 2. */
const tolerance = 0.22;

/**
 * Probes the server with a new model, which is unloaded afterwards.
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
  const model = await client.createModel(baseModel, lora);
  try {
    return await measuredScale(client, model, ids);
  } finally {
    await client.unloadModel(model);
  }
}

const scored = (ids: readonly number[]) => sequenceDatum(ids, { weights: ids.slice(1).map(() => 1) });

async function measuredScale(client: TinkerClient, model: string, ids: readonly number[]): Promise<LossScale> {
  // The least likely of the early tokens has the largest gradient. Later tokens do not affect its log-prob.
  const [logProbs] = await client.forward(model, [scored(ids)]);
  const early = logProbs!.slice(0, Math.max(1, Math.ceil(ids.length / 2)));
  const target = early.indexOf(Math.min(...early));
  const [short, long] = [target + 1, lengthRatio * (target + 1)];
  const repeated = Array.from({ length: long + 1 }, (_, i) => ids[i % ids.length]!);

  let current = logProbs![target]!;
  let rate = firstRate;
  const datum = (length: number, advantage: number): TinkerDatum => {
    const at = (value: number) => Array.from({ length }, (_, i) => (i === target ? value : 0));
    return sequenceDatum(repeated.slice(0, length + 1), { logprobs: at(current), advantages: at(advantage) });
  };
  /** The change of the target's log-prob by one step. */
  const moveBy = async (data: () => readonly TinkerDatum[]): Promise<number> => {
    await client.forwardBackward(model, data());
    await client.optimStep(model, descent(rate));
    const [after] = await client.forward(model, [scored(repeated.slice(0, short + 1))]);
    const move = after![target]! - current;
    current = after![target]!;
    return move;
  };
  /** The mean of a step up and a step down, which cancels the curvature. */
  const slopeOf = async (data: (advantage: number) => readonly TinkerDatum[]): Promise<number> =>
    ((await moveBy(() => data(1))) - (await moveBy(() => data(-1)))) / 2;

  const alone = (advantage: number) => [datum(short, advantage)];
  let unit = 0;
  for (let tries = 1; ; tries += 1) {
    unit = await slopeOf(alone);
    if (unit >= wantedMove.least && unit <= wantedMove.most) break;
    if (tries === maxTries || !Number.isFinite(unit)) {
      throw new UserError({
        problem: `The model on the Tinker server at ${client.url} does not learn: gradient descent does not raise a token's log-prob as expected.`,
        found: `${unit.toPrecision(3)} nats at a rate of ${rate.toPrecision(3)}`,
      });
    }
    rate *= unit > 0 ? Math.min(100, Math.max(0.01, wantedMove.aim / unit)) : 10;
  }
  const byLength = (await slopeOf((advantage) => [datum(long, advantage)])) / unit;
  const byBatch = (await slopeOf((advantage) => [datum(short, advantage), datum(long, 0)])) / unit;

  const distance = ({ expected }: KnownScale) => {
    const [length, batch] = expected(short, long);
    return Math.max(Math.abs(Math.log(byLength / length)), Math.abs(Math.log(byBatch / batch)));
  };
  const found = knownScales.find((scale) => distance(scale) <= tolerance);
  if (found !== undefined) return found;
  throw new UserError({
    problem: `The Tinker server at ${client.url} scales its loss in an unknown way.`,
    expected: 'a sum or mean over tokens and a sum or mean over sequences',
    found: `${byLength.toPrecision(3)} times the step for a sequence of ${long} instead of ${short} targets, ${byBatch.toPrecision(3)} times for two sequences instead of one`,
  });
}
