/**
 * @file The cases of the comparison: three families of models, given rows and rewards, and for each algorithm the trainer that
 * it is compared with. All is a function of the case's name.
 */
import { join } from 'node:path';
import { readGenerationConfig } from '../../src/model/checkpoint/generation-config.js';
import { describePretrained } from '../../src/model/checkpoint/pretrained.js';
import { loadTokenizer } from '../../src/model/checkpoint/tokenizer.js';
import type { AlgorithmName } from '../../src/stage2/algorithm.js';
import { keyedRandom, type Random } from '../../src/util/random.js';
import { fixture } from '../helpers/files.js';

/** A prompt with the completions and rewards that every side is given. */
interface GivenProblem {
  readonly prompt: string;
  readonly promptIds: readonly number[];
  /** Of stage 1. */
  readonly samples: readonly (readonly number[])[];
  readonly rewards: readonly number[];
  /** Of stage 2: the n-th is used at the n-th visit. */
  readonly visits: readonly (readonly number[])[];
  readonly visitRewards: readonly number[];
}

/** One comparison, as the Python sides read it. */
export interface Case {
  readonly name: string;
  /** Model folder. */
  readonly model: string;
  readonly algorithm: AlgorithmName;
  /** TRL's trainer; absent where TRL has none of this definition. */
  readonly trainer?: 'a2po' | 'grpo' | 'rloo';
  readonly lossType?: string;
  readonly scaleRewards?: string;
  /** TRL divides the loss by this, a constant; clipping and AdamW's epsilon are divided by it too, so that nothing else changes. */
  readonly lossScale: number;
  readonly problems: readonly GivenProblem[];
  readonly numSamples: number;
  readonly batchSize: number;
  readonly groupSize: number;
  readonly maxNewTokens: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly temperature: number;
  readonly learningRate: number;
  readonly maxGradientNorm: number;
  readonly adamEpsilon: number;
  readonly seed: number;
  /** Updates after which the weights are compared. */
  readonly snapshots: readonly number[];
}

export const families = ['qwen2-tied-f32', 'qwen2-untied-bf16', 'qwen3-tied', 'llama'] as const;

const maxNewTokens = 10;
const visits = 120;
const shared = {
  numSamples: 8,
  maxNewTokens,
  learningRate: 1e-4,
  adamEpsilon: 1e-8,
  seed: 7,
  snapshots: [1, 10, 100],
} as const;

/** What differs between the cases of a family. */
const kinds = {
  // Clipping never acts with A*PO's usual beta2; here it does, and δ counts in the residual.
  'A*PO': { algorithm: 'apo', trainer: 'a2po', batchSize: 4, groupSize: 1, beta1: 0.5, beta2: 0.05, temperature: 1 },
  'A*PO, sharp V*': {
    algorithm: 'apo',
    trainer: 'a2po',
    batchSize: 4,
    groupSize: 1,
    beta1: 0.1,
    beta2: 1e-3,
    temperature: 1,
  },
  GRPO: {
    ...{ algorithm: 'grpo', trainer: 'grpo', lossType: 'dr_grpo', scaleRewards: 'group' },
    ...{ lossScale: maxNewTokens, batchSize: 8, groupSize: 4, temperature: 0.7 },
  },
  'Dr. GRPO': {
    ...{ algorithm: 'dr-grpo', trainer: 'grpo', lossType: 'dr_grpo', scaleRewards: 'none' },
    ...{ lossScale: maxNewTokens, batchSize: 8, groupSize: 4, temperature: 0.7 },
  },
  RLOO: { algorithm: 'rloo', trainer: 'rloo', batchSize: 8, groupSize: 4, temperature: 0.7 },
  // TRL means over the pairs of trl_trainers.py, of which one row in two counts.
  REINFORCE: { algorithm: 'reinforce', trainer: 'rloo', lossScale: 2, batchSize: 8, groupSize: 1, temperature: 0.7 },
  SPO: { algorithm: 'spo', batchSize: 8, groupSize: 1, temperature: 0.7 },
  TBRM: { algorithm: 'tbrm', batchSize: 8, groupSize: 1, beta2: 0.05, temperature: 0.7 },
} as const satisfies Record<string, Partial<Case>>;

/** The cases of one model folder. */
export function casesOf(family: (typeof families)[number]): Case[] {
  const model = fixture(family);
  const problems = problemsOf(model, keyedRandom('parity', family));
  // TRL leaves completions that were cut off out of REINFORCE's pairs.
  const finished = problemsOf(model, keyedRandom('parity', family, 'finished'), 0);
  return Object.entries(kinds).map(([kind, own]) => ({
    ...{ lossScale: 1, beta1: 0.5, beta2: 1e-3, maxGradientNorm: 1 },
    ...shared,
    ...own,
    name: `${family}, ${kind}`,
    model,
    problems: kind === 'REINFORCE' ? finished : problems,
  }));
}

/** The rows of each update of a case, which TRL's trainer draws where there is one: as many problems as rows, visit by visit. */
export function drawnBatches({ name, problems, batchSize, snapshots }: Case): [problem: number, visit: number][][] {
  const random = keyedRandom('batches', name);
  const visited = problems.map(() => 0);
  return Array.from({ length: Math.max(...snapshots) }, () =>
    random
      .shuffle([...problems.keys()])
      .slice(0, batchSize)
      .map((at) => [at, visited[at]!++]),
  );
}

/** A folder for what one side computes of a case. */
export const folderOf = (root: string, { name }: Case, side: string) =>
  join(root, `${name.replaceAll(/[^a-z0-9-]+/gi, '-')}-${side}`);

const questions = [
  'What is 7 × 12?',
  'Add 3 and 4.',
  'Name a prime above 90.',
  'x = 5, y = ?',
  'Count: one, two,',
  'Why is the sky blue?',
  'Translate: bonjour',
  '12 + 30 =',
  'Is 17 odd?',
  'Spell "cat".',
];

/** Completions of random tokens, a share of them cut off, the others ended by any of the model's end tokens. */
function problemsOf(model: string, random: Random, cutOff = 0.25): GivenProblem[] {
  const tokenizer = loadTokenizer(model);
  const { config } = describePretrained(model);
  const { eosTokenIds } = readGenerationConfig(model, config);
  const special = new Set(tokenizer.specialIds);
  const words = Array.from({ length: tokenizer.length }, (_, id) => id).filter((id) => !special.has(id));
  const completion = () => {
    const cut = random.uniform() < cutOff;
    const length = cut ? maxNewTokens : random.int(1, maxNewTokens);
    const ids = Array.from({ length }, () => random.pick(words));
    if (!cut) ids[length - 1] = random.pick([...eosTokenIds]);
    return ids;
  };
  return questions.map((prompt, i) => {
    // The first has no right sample, so that it is filtered; the second has nothing else.
    const chance = i === 0 ? 0 : i === 1 ? 1 : 0.2 + 0.6 * random.uniform();
    const reward = () => Number(random.uniform() < chance);
    return {
      prompt,
      promptIds: tokenizer.encode(prompt, { addSpecialTokens: false }),
      samples: Array.from({ length: shared.numSamples }, completion),
      rewards: Array.from({ length: shared.numSamples }, reward),
      visits: Array.from({ length: visits }, completion),
      visitRewards: Array.from({ length: visits }, () => Number(random.uniform() < 0.5)),
    };
  });
}
