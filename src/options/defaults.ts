/**
 * @file Defaults that depend on the model: one row per option, one column per kind of model, and one for `--preset seed`. Used
 * by runs and help texts. docs/algorithm.md and docs/log.md explain the values.
 */
import { type Wording, wordings } from '../data/prompt.js';
import type { Freeze } from '../engine/choices.js';
import type { AdamWOptions } from '../engine/optim/settings.js';
import type { AnswerReading } from '../reward/answer.js';
import type { TrainedProblems } from '../stage1/trained-problems.js';
import { hasKey, keysOf } from '../util/keys.js';

/**
 * `builtin`: a built-in model or one trained from it. `instruct`: a checkpoint with a chat template. `base`: any other
 * checkpoint.
 */
export type ModelKind = 'builtin' | 'instruct' | 'base';

/** A kind of model, or the preset, which takes precedence. */
export type DefaultsColumn = ModelKind | 'seed';

/** What of a model is trained: all weights but the frozen ones, or adapters (`lora`). */
interface TrainedPart {
  readonly lora: boolean;
  readonly freeze: Freeze;
}

/** Options whose default depends on the model. */
export interface FollowingDefaults {
  readonly numTrain: number;
  readonly epochs: number;
  readonly numSamples: number;
  readonly evalSamples: number;
  readonly batchSize: number;
  /** Learning rate by number of parameters and by what is trained. */
  readonly lr: (parameters: number, trained: TrainedPart) => number;
  readonly beta1: number;
  readonly beta2: number;
  readonly temperature: number;
  readonly reward: 'graded' | 'exact';
  readonly curriculum: 'mixed' | 'none';
  readonly trainOn: TrainedProblems;
  readonly freeze: Freeze;
}

/** Settings that depend on the model and have no option, or one whose default is `auto`. */
export interface FollowingSettings {
  /** Wordings of the built-in task. If there are several, a probe of the reference chooses one. */
  readonly wordings: readonly Wording[];
  /** Solved examples before each question. */
  readonly shots: ByWording;
  readonly rewardReads: AnswerReading;
  /** Share of the updates during which the learning rate rises. */
  readonly warmupShare: number;
  /** Fraction of the learning rate that a cosine decay reaches at the last update; 1 keeps it constant. */
  readonly decayTo: number;
}

/** A number by wording of the built-in task; `other`: for other wordings, and a task or problems file. */
type ByWording = Partial<Record<Wording, number>> & { readonly other: number };

export type Defaults = FollowingDefaults & FollowingSettings & { readonly maxNewTokens: ByWording };

const fixed = (lr: number) => () => lr;

/**
 * Adapters need about ten times the learning rate of full training (Schulman et al., "LoRA Without Regret", 2025). Training
 * with this factor learns on one model and seed (docs/log.md); no other factor was tried.
 */
const adapterFactor = 10;

/** Attention alone learns more slowly: at this factor as fast as all layers do, and held-out accuracy is higher (docs/log.md). */
const attentionFactor = 2;

/**
 * Learning rate of a checkpoint: inversely proportional to the number of parameters, fitted to a model of 135 million
 * parameters (docs/log.md), and limited to the usual range.
 */
const byParameters = (parameters: number, { lora, freeze }: TrainedPart) => {
  const rate = Math.min(5e-5, Math.max(1e-6, (3e-5 * 135e6) / Math.max(parameters, 1)));
  const factor = lora ? adapterFactor : freeze === 'mlp' ? attentionFactor : 1;
  return Number((rate * factor).toPrecision(2));
};

const paper = { numSamples: 8, beta1: 0.5, beta2: 1e-3, temperature: 1 } as const;

const checkpoint = {
  ...paper,
  numTrain: 180,
  epochs: 4,
  evalSamples: 8,
  batchSize: 20,
  lr: byParameters,
  reward: 'exact',
  curriculum: 'mixed',
  warmupShare: 0.1,
  decayTo: 0.1,
  rewardReads: 'natural',
  // Includes problems that no sample of stage 1 solved: the model solves many of them later, and forgets them if it never sees them.
  trainOn: 'all',
  // What a model knows is mostly in its MLPs. With them frozen, SmolLM2 learns to answer in form and forgets fewer products, and needs
  // 1.7 GB instead of 2.9 (docs/log.md).
  freeze: 'mlp',
} as const;

export const defaultsTable: Readonly<Record<DefaultsColumn, Defaults>> = {
  builtin: {
    ...paper,
    numTrain: 500,
    epochs: 3,
    evalSamples: 64,
    batchSize: 32,
    lr: fixed(4e-4),
    reward: 'graded',
    curriculum: 'none',
    maxNewTokens: { builtin: 48, other: 48 },
    wordings: ['builtin'],
    shots: { other: 0 },
    rewardReads: 'stated',
    warmupShare: 0.1,
    decayTo: 0.1,
    trainOn: 'solved',
    freeze: 'none',
  },
  instruct: {
    ...checkpoint,
    maxNewTokens: { number: 32, sentence: 32, steps: 128, other: 256 },
    wordings: ['number', 'steps'],
    shots: { sentence: 2, other: 0 },
  },
  base: {
    ...checkpoint,
    maxNewTokens: { question: 16, other: 256 },
    wordings: ['question'],
    shots: { builtin: 4, number: 4, sentence: 4, steps: 4, question: 4, seed: 4, other: 0 },
  },
  seed: {
    numTrain: 500,
    epochs: 3,
    numSamples: 5,
    evalSamples: 64,
    batchSize: 4,
    lr: fixed(5e-6),
    beta1: 0.1,
    beta2: 0.01,
    temperature: 1.5,
    reward: 'graded',
    curriculum: 'none',
    maxNewTokens: { other: 50 },
    wordings: ['seed'],
    shots: { other: 0 },
    rewardReads: 'last-integer',
    warmupShare: 0,
    decayTo: 1,
    trainOn: 'all',
    freeze: 'none',
  },
};

/** AdamW in every training run. */
export const optimizer: AdamWOptions = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 };

/** Defaults of supervised training that are not those of reinforcement learning, whatever the model. */
export const sftDefaults = { epochs: 3, batchSize: 16 } as const;

/**
 * The defaults of an option as help shows them: `8`, or `4e-4 built-in, 3e-5 others at 135M`. Undefined if it has none
 * in this table.
 *
 * @param freeze the frozen weights, on which the learning rate depends. Default: those of the model.
 */
export function followingDefaultText(name: string, freeze?: Freeze): string | undefined {
  const columns = (['builtin', 'instruct', 'base'] as const).map((kind): [string, Defaults] => {
    const column = defaultsTable[kind];
    return [kind === 'builtin' ? 'built-in' : kind, { ...column, freeze: freeze ?? column.freeze }];
  });
  if (!hasKey(defaultsTable.builtin, name)) return undefined;
  const values = columns.map(([, column]) => valueText(column[name], column));
  if (values.every((value) => value === values[0])) return values[0];
  const size = columns.some(([, column]) => followsSize(column[name], column)) ? ` at ${shownSize.name}` : '';
  if (values[1] === values[2]) return `${values[0]} built-in, ${values[1]} others${size}`;
  if (values.some((value) => value.includes(','))) {
    return `${columns.map(([title], i) => `${title}: ${values[i]}`).join('; ')}${size}`;
  }
  return `${columns.map(([title], i) => `${values[i]} ${title}`).join(', ')}${size}`;
}

/** Example model size for the learning-rate rule in help texts. */
const shownSize = { parameters: 135e6, name: '135M' } as const;

type DefaultValue = Defaults[keyof Defaults];

function followsSize(value: DefaultValue, { freeze }: Defaults): boolean {
  const trained = { lora: false, freeze };
  return typeof value === 'function' && value(1, trained) !== value(1e12, trained);
}

function valueText(value: DefaultValue, { freeze }: Defaults): string {
  if (typeof value === 'function') return numberText(value(shownSize.parameters, { lora: false, freeze }));
  if (typeof value === 'number') return numberText(value);
  if (typeof value === 'object' && 'other' in value) {
    const { other, ...byWording } = value;
    const [own, ...more] = new Set(Object.values(byWording));
    if (own !== undefined && own !== other && more.length === 0) {
      const named = keysOf(byWording);
      const when =
        named.length === keysOf(wordings).length ? 'for the built-in task' : `with --wording ${named.join(' or ')}`;
      return `${own} ${when}, otherwise ${other}`;
    }
    const all = [...new Set([...Object.values(byWording), other])];
    return all.length === 1 ? `${other}` : `${all.slice(0, -1).join(', ')} or ${all.at(-1)} by wording`;
  }
  return String(value);
}

/** `4e-4` for 0.0004, `0.5` for 0.5. */
function numberText(value: number): string {
  return value !== 0 && Math.abs(value) < 1e-2 ? value.toExponential() : String(value);
}
