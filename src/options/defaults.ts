/**
 * @file The defaults that follow the model: a column for each kind of model, and one for `--preset seed`. Runs and help texts
 * both read this table. Where the values come from: docs/algorithm.md; the built-in model's are those of its card.
 */
import type { Wording } from '../data/prompt.js';
import type { MultiplicationRewardOptions } from '../reward/multiplication.js';

/** `builtin`: a built-in model or one trained from it. `others`: any other checkpoint. `seed`: the preset, for both. */
export type DefaultsColumn = 'builtin' | 'others' | 'seed';

/** Options whose default follows the model. */
interface FollowingDefaults {
  readonly numSamples: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly temperature: number;
  readonly batchSize: number;
  readonly lr: number;
  readonly maxNewTokens: number;
}

/** Settings that follow the model and have no option of their own. */
interface FollowingSettings {
  readonly wording: Wording;
  readonly rewardReads: MultiplicationRewardOptions['read'];
  readonly warmupSteps: number;
  /** Fraction of the learning rate that a cosine leads down to at the last update; 1 keeps it constant. */
  readonly decayTo: number;
}

const paper = { numSamples: 8, beta1: 0.5, beta2: 1e-3, temperature: 1, batchSize: 32 } as const;

export const defaultsTable: Readonly<Record<DefaultsColumn, FollowingDefaults & FollowingSettings>> = {
  builtin: {
    ...paper,
    lr: 4e-4,
    maxNewTokens: 48,
    wording: 'builtin',
    rewardReads: 'stated',
    warmupSteps: 5,
    decayTo: 0.1,
  },
  others: {
    ...paper,
    lr: 1e-6,
    maxNewTokens: 256,
    wording: 'instruct',
    rewardReads: 'stated',
    warmupSteps: 10,
    decayTo: 1,
  },
  seed: {
    numSamples: 5,
    beta1: 0.1,
    beta2: 0.01,
    temperature: 1.5,
    batchSize: 4,
    lr: 5e-6,
    maxNewTokens: 50,
    wording: 'seed',
    rewardReads: 'last-integer',
    warmupSteps: 0,
    decayTo: 1,
  },
};

/** `8`, or `4e-4 built-in, 1e-6 others`: the defaults of an option as help shows them; undefined where it has none here. */
export function followingDefaultText(name: string): string | undefined {
  const { builtin, others } = defaultsTable;
  if (!Object.hasOwn(builtin, name)) return undefined;
  const option = name as keyof FollowingDefaults;
  const [first, second] = [numberText(builtin[option]), numberText(others[option])];
  return first === second ? first : `${first} built-in, ${second} others`;
}

/** `4e-4` for 0.0004, `0.5` for 0.5. */
function numberText(value: number): string {
  return value !== 0 && Math.abs(value) < 1e-2 ? value.toExponential() : String(value);
}
