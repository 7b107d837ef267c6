/**
 * @file The cases of the comparison: the whole job and its parts, each with its sides. A side is a command that receives a JSON
 * file and prints JSON as its last line.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { byteLevelTokenizer, medium, qwen2Record, qwenHalfBillion, saveRandomModel } from './checkpoints.js';
import { builtin, forcedJob, fullSize, naturalJob, realJob, type WholeJob } from './jobs.js';
import type { Part } from './parts.js';
import { peer } from './python.js';

interface Side {
  readonly name: string;
  /** The command; the path of the input is appended. */
  readonly command: readonly string[];
  /** `scratch`: a folder that does not exist. */
  readonly input: (scratch: string) => WholeJob | Part;
}

export interface Case {
  readonly name: string;
  /** How the results of the sides are compared, see compare.ts. */
  readonly kind: 'job' | 'part';
  /** The others are compared with the first one. */
  readonly sides: readonly Side[];
  /** Takes minutes; skipped unless selected or compared with the peers. */
  readonly large?: boolean;
  readonly rounds?: number;
}

export interface CaseOptions {
  /** Problems of the whole job; 500 for reported figures. */
  readonly problems: number;
  /** Problems of the plain loop. */
  readonly plainProblems: number;
  /** Folder for models with random weights. */
  readonly models: string;
  /** A Hugging Face folder that is measured too. */
  readonly model?: string | undefined;
  /** Seed of its job. */
  readonly seed: number;
}

const ours = (script: string) => [process.execPath, fileURLToPath(new URL(script, import.meta.url))];
const isOurs = ({ name }: Side) => name.startsWith('tinyzero');

/** All cases; without `peers`, only with the sides of tinyzero. */
export async function benchCases(options: CaseOptions, peers: boolean): Promise<Case[]> {
  const all = [...jobCases(options), ...partCases(options), ...(await modelCases(options))];
  const mine = (each: Case) => ({ ...each, sides: each.sides.filter(isOurs) });
  return peers ? all : all.map(mine).filter(({ sides }) => sides.length > 0);
}

/** The sides of a whole job. */
const jobCommands = {
  tinyzero: ours('./whole-job.js'),
  'tinyzero wasm': [...ours('./whole-job.js'), '--wasm'],
  'TRL A2PO': peer('trl_job.py', 'a2po'),
  'TRL GRPO': peer('trl_job.py', 'grpo'),
  'plain loop': peer('plain_loop.py'),
  'batched PyTorch': peer('batched.py'),
};

function jobCase(
  name: string,
  inputs: Partial<Record<keyof typeof jobCommands, (scratch: string) => WholeJob>>,
  rest: Pick<Case, 'large' | 'rounds'> = {},
): Case {
  const sides = Object.entries(inputs).map(([side, input]) => ({
    name: side,
    command: jobCommands[side as keyof typeof jobCommands],
    input,
  }));
  return { name, kind: 'job', sides, ...rest };
}

function jobCases({ problems, plainProblems, models }: CaseOptions): Case[] {
  const whole = (count: number) => (scratch: string) => forcedJob(scratch, { ...fullSize, problems: count });
  const full = whole(problems);
  const size = { problems: 8, samples: 4, epochs: 1, evalSamples: 4, newTokens: 32 };
  const half = (scratch: string) => ({ ...forcedJob(scratch, size), model: join(models, 'half'), batchSize: 4 });
  const learning = { tinyzero: naturalJob, 'TRL A2PO': naturalJob, 'batched PyTorch': naturalJob };
  const once = { large: true, rounds: 1 };
  return [
    jobCase('start', { tinyzero: whole(1), 'tinyzero wasm': whole(1) }),
    jobCase('whole job', {
      tinyzero: full,
      'TRL A2PO': full,
      'plain loop': whole(plainProblems),
      'batched PyTorch': full,
    }),
    jobCase('job 0.5B', { tinyzero: half, 'TRL A2PO': half }, once),
    jobCase('learning', learning, once),
  ];
}

type Variant = Partial<Part>;

function partCases({ models }: CaseOptions): Case[] {
  const tiny = { model: builtin.folder, vocabulary: builtin.config.vocabSize, promptTokens: 7, newTokens: 32 };
  const middle = { model: join(models, 'medium'), vocabulary: medium.vocabulary, promptTokens: 16, newTokens: 48 };
  const half = {
    model: join(models, 'half'),
    vocabulary: qwenHalfBillion.vocab_size as number,
    promptTokens: 16,
    newTokens: 48,
    large: true,
  };
  const transformers: Variant = { code: 'transformers' };
  const batched: Variant = { code: 'batched' };
  const bf16: Variant = { precision: 'bf16' };
  const compiled: Variant = { compiled: true };
  const sampling = { 'transformers generate': transformers, 'batched PyTorch': batched };
  const steps = {
    'transformers eager': transformers,
    'transformers compiled': { ...transformers, ...compiled },
    'batched PyTorch': batched,
    'batched PyTorch compiled': { ...batched, ...compiled },
  };
  const halfSampling = { 'tinyzero bf16': bf16, ...sampling, 'transformers bf16': { ...transformers, ...bf16 } };
  const halfSteps = { 'transformers eager': transformers, 'batched PyTorch': batched };
  return [
    partCase('sample tiny 64', { ...tiny, kind: 'sample', rows: 64, samples: 8, runs: 10 }, sampling),
    partCase('sample tiny 512', { ...tiny, kind: 'sample', rows: 512, samples: 8, runs: 5 }, sampling),
    partCase('step tiny', { ...tiny, kind: 'step', rows: 32, runs: 20 }, steps),
    partCase('step 25M', { ...middle, kind: 'step', rows: 8, runs: 10 }, steps),
    partCase('score 0.5B', { ...half, kind: 'score', rows: 4, runs: 1 }, halfSteps),
    partCase('sample 0.5B 4', { ...half, kind: 'sample', rows: 4, newTokens: 64, runs: 1 }, halfSampling),
    partCase('sample 0.5B 16', { ...half, kind: 'sample', rows: 16, newTokens: 64, runs: 1 }, halfSampling),
    partCase('step 0.5B', { ...half, kind: 'step', rows: 4, runs: 1 }, halfSteps),
  ];
}

/** Sampling and updates of the given model, at the sizes of a run on short questions, and the run itself. */
async function modelCases({ model, seed, problems: limit }: CaseOptions): Promise<Case[]> {
  if (model === undefined) return [];
  const config = JSON.parse(readFileSync(join(model, 'config.json'), 'utf8')) as { vocab_size: number };
  const sizes = { model, vocabulary: config.vocab_size, promptTokens: 40, runs: 2, large: true };
  const transformers: Variant = { code: 'transformers' };
  const sampled = [1, 16, 64, 256].map((rows) =>
    partCase(
      `model: sample ${rows}`,
      { ...sizes, kind: 'sample', rows, newTokens: 64 },
      { 'transformers generate': transformers },
    ),
  );
  const update = { ...sizes, kind: 'update', rows: 16, newTokens: 56 } as const;
  const real = await realJob(model, { seed, limit });
  return [
    jobCase('real job', { tinyzero: real, 'TRL A2PO': real, 'TRL GRPO': real }, { large: true, rounds: 1 }),
    ...sampled,
    partCase('model: update', update, { 'transformers eager': transformers }),
    partCase('model: update LoRA', { ...update, loraRank: 16 }, { 'transformers PEFT': transformers }),
  ];
}

type PartOfCase = Omit<Part, 'samples' | 'precision'> & { readonly samples?: number; readonly large?: boolean };

function partCase(name: string, { large = false, ...part }: PartOfCase, variants: Record<string, Variant>): Case {
  const base: Part = { samples: 1, precision: 'f32', ...part };
  const sides = Object.entries({ tinyzero: {}, ...variants }).map(([side, variant]) => ({
    name: side,
    command: side.startsWith('tinyzero') ? ours('./parts.js') : peer('parts.py'),
    input: () => ({ compiled: false, ...base, ...variant }),
  }));
  return { name, kind: 'part', sides, large };
}

/** Makes the models with random weights that the cases need. */
export async function makeModels(cases: readonly Case[], models: string): Promise<void> {
  const needed = new Set(cases.flatMap(({ sides }) => sides.map(({ input }) => input('').model)));
  const make: Record<string, () => Promise<void>> = {
    medium: () => saveRandomModel(join(models, 'medium'), qwen2Record(medium), 'float32'),
    half: async () => {
      await saveRandomModel(join(models, 'half'), qwenHalfBillion, 'bfloat16', byteLevelTokenizer);
      // Without a chat template, so that the job's prompts are the same on every side.
      const path = join(models, 'half', 'tokenizer_config.json');
      const { chat_template: _, ...rest } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
      writeFileSync(path, JSON.stringify(rest));
    },
  };
  for (const [name, save] of Object.entries(make)) if (needed.has(join(models, name))) await save();
}
