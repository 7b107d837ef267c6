/**
 * @file The option table: every option of every command, with its group, type, default, unit and help. Flags, validation, help
 * texts, the tables of docs/commands.md and the options saved by a run are all derived from it.
 */
import { wordings } from '../data/prompt.js';
import { freezeChoices, precisions, samplerWeightChoices } from '../engine/choices.js';
import { trainedProblemsChoices } from '../stage1/trained-problems.js';
import { algorithmNames } from '../stage2/algorithm.js';
import { controls } from '../stage2/control.js';
import { keysOf } from '../util/keys.js';
import { datasetOptions, resultOptions } from './files.js';
import { machineOptions, remoteOptions, serverOptions } from './machines.js';
import type { OptionSpec } from './spec.js';

/** A boolean whose default is true has the flag `--no-<name>`. Names are camelCase, flags kebab-case. */
export const options = {
  model: {
    type: 'string',
    placeholder: 'folder|id',
    help: 'checkpoint or run folder, .gguf file, hub id (org/name[@revision]), builtin or builtin-b',
  },
  reference: { type: 'string', placeholder: 'folder|id', help: 'reference model of V* and of the loss' },
  preset: {
    type: 'choice',
    choices: ['default', 'seed'],
    default: 'default',
    help: 'defaults that suit the model, or those of the original project',
  },
  compare: { type: 'string', placeholder: 'folder|file', help: 'another model to ask the same questions' },
  compareRuns: {
    type: 'list',
    placeholder: 'folder',
    default: [],
    word: 'compare',
    help: 'overlay these runs on the first',
  },
  corpus: {
    type: 'choice',
    choices: ['tiny', 'tiny-b'],
    default: 'tiny',
    help: 'the built-in model to make; determines its seed and its held-out problems',
  },
  family: {
    type: 'choice',
    choices: ['qwen2', 'qwen3', 'llama'],
    default: 'qwen2',
    help: 'architecture of the built-in model; qwen3 and llama are for servers that support only those',
  },
  data: {
    type: 'string',
    placeholder: 'file',
    help: 'examples as JSON lines, {"prompt": …, "completion": …} or {"messages": […]}; - reads standard input',
  },
  heldOut: {
    type: 'number',
    min: 0,
    max: 0.5,
    default: 0.1,
    unit: 'share',
    help: 'share of the lines to hold out, for the loss before and after training',
  },
  steps: { type: 'integer', min: 1, unit: 'steps', help: 'train for fewer steps than the recipe, for a quick test' },
  precision: {
    type: 'choice',
    choices: precisions,
    default: 'f32',
    help: 'precision of matrix products; bf16 is faster for large models, and not available on wasm',
  },
  samplerWeights: {
    type: 'choice',
    choices: samplerWeightChoices,
    default: 'full',
    help: 'weights for sampling; int8 rounds them to bytes, which is faster with large models',
  },
  prompt: { type: 'string', placeholder: 'text', help: 'text to complete; - reads it from standard input' },
  input: { type: 'string', placeholder: 'file', help: 'file of JSON lines, one object each; - reads standard input' },
  chat: { type: 'boolean', default: false, help: 'the same as --prompt-style chat' },
  promptStyle: {
    type: 'choice',
    choices: ['raw', 'chat'],
    default: 'raw',
    help: 'pass the text unchanged, or as a user message in the chat template',
  },
  questionStyle: {
    type: 'choice',
    choices: ['auto', 'raw', 'chat'],
    default: 'auto',
    word: 'prompt-style',
    help: 'ask as plain text, or as a user message in the chat template; auto: chat if the model has a template',
  },
  wording: {
    type: 'choice',
    choices: ['auto', ...keysOf(wordings)],
    default: 'auto',
    help: 'wording of the built-in task; auto tries suitable wordings on a few training problems',
  },
  system: { type: 'string', placeholder: 'text', help: 'system message before each question' },
  shots: { type: 'integer', min: 0, max: 64, unit: 'problems', help: 'solved problems shown before each question' },
  temperature: { type: 'number', min: 0, help: 'divides the logits before the softmax' },
  topP: {
    type: 'number',
    above: 0,
    max: 1,
    help: 'sample only from the most likely tokens that together have this probability',
  },
  topK: { type: 'integer', min: 0, unit: 'tokens', help: 'sample only from this many most likely tokens; 0: all' },
  maxNewTokens: { type: 'integer', min: 1, unit: 'tokens', help: 'longest completion' },
  samples: { type: 'integer', min: 1, unit: 'completions', help: 'completions per prompt' },
  task: {
    type: 'string',
    placeholder: 'file',
    help: 'take problems and reward from this JavaScript or TypeScript file instead of multiplication',
  },
  problems: {
    type: 'string',
    placeholder: 'file|id',
    help: 'take problems from this file (.jsonl, .csv, .parquet) or this dataset of the hub instead of multiplication',
  },
  ...datasetOptions,
  min: { type: 'integer', min: 0, default: 2, help: 'smallest factor of the multiplications' },
  max: { type: 'integer', min: 0, default: 12, help: 'largest factor of the multiplications' },
  numTrain: { type: 'integer', min: 1, unit: 'rows', help: 'training rows, sampled with replacement' },
  numTest: { type: 'integer', min: 1, default: 50, unit: 'problems', help: 'held-out problems to evaluate on' },
  numValidation: {
    type: 'integer',
    min: 0,
    default: 0,
    unit: 'problems',
    help: 'training problems set aside for --keep best, evaluated every --eval-every updates',
  },
  overlap: {
    type: 'choice',
    choices: ['none', 'seed'],
    default: 'none',
    help: 'none separates test and training problems; seed draws test problems from the training problems, for comparison only',
  },
  reward: {
    type: 'choice',
    choices: ['graded', 'exact'],
    help: 'graded gives 0.3 for a near miss; exact gives 1 or 0',
  },
  seed: { type: 'integer', min: 0, default: 0, help: 'the same seed draws the same random numbers' },
  numSamples: { type: 'integer', min: 1, unit: 'samples', help: 'samples of each distinct problem in stage 1' },
  beta1: { type: 'number', min: 0, help: 'temperature of V*: small is near the best reward, large near the mean' },
  vStar: { type: 'string', placeholder: 'file', help: 'take V* from this v_star_dict.json instead of sampling' },
  fromVStar: {
    type: 'string',
    placeholder: 'file',
    word: 'from',
    help: 'derive the result from the rewards in this v_star_dict.json, without sampling',
  },
  shard: {
    type: 'string',
    placeholder: 'i/n',
    help: 'only the i-th of n parts of the problems; merge-vstar joins them',
  },
  partial: {
    type: 'boolean',
    default: false,
    help: 'merge even if shards are missing, incomplete or given twice',
  },
  force: { type: 'boolean', default: false, help: 'train even if stage 1 finds nothing to learn' },
  algo: {
    type: 'choice',
    choices: algorithmNames,
    default: algorithmNames[0],
    help: 'algorithm: A*PO, or another with the same budget of rollouts (docs/algorithms.md)',
  },
  control: {
    type: 'choice',
    choices: controls,
    default: controls[0],
    help: 'shuffled-reward gives each rollout the reward of another: a placebo that must show no gain',
  },
  epochs: { type: 'integer', min: 1, help: 'passes of stage 2 over all rows' },
  batchSize: { type: 'integer', min: 1, unit: 'rollouts', help: 'rollouts per update' },
  microBatch: {
    type: 'integer',
    min: 1,
    unit: 'rows',
    help: 'rows of an update computed together; fewer need less memory',
  },
  freeze: {
    type: 'choice',
    choices: freezeChoices,
    help: 'embeddings: the token embeddings and the output layer are not trained; mlp: nor are the MLPs of all layers',
  },
  loraRank: {
    type: 'integer',
    min: 1,
    unit: 'rank',
    help: 'train LoRA adapters of this rank and freeze the weights; default: train all weights',
  },
  loraAlpha: { type: 'number', above: 0, help: 'adapters are multiplied by alpha / rank; default: twice the rank' },
  loraTargets: {
    type: 'string',
    placeholder: 'layers',
    help: 'linear layers with adapters, such as q_proj,v_proj; default: all',
  },
  lr: { type: 'number', above: 0, help: 'learning rate of AdamW' },
  warmup: {
    type: 'integer',
    min: 0,
    unit: 'updates',
    help: 'updates during which the learning rate rises; default: a tenth of all',
  },
  beta2: { type: 'number', above: 0, help: 'weight of the log-ratio to the reference in the loss' },
  trainOn: {
    type: 'choice',
    choices: trainedProblemsChoices,
    help: 'train on problems whose stage 1 rewards vary, on those with an exact sample, or on all',
  },
  curriculum: {
    type: 'choice',
    choices: ['none', 'mixed'],
    help: 'mixed samples the rows of stage 2 in proportion to the variance of their rewards in stage 1',
  },
  maxSteps: { type: 'integer', min: 1, unit: 'updates', help: 'stop after this many updates' },
  stopWhenFlat: {
    type: 'integer',
    min: 2,
    unit: 'updates',
    help: 'stop when the mean training reward of this many updates is no higher than that of the same number before them',
  },
  evalEvery: {
    type: 'integer',
    min: 0,
    default: 10,
    unit: 'updates',
    help: 'updates between measurements of greedy held-out accuracy; 0: never',
  },
  evalSamples: {
    type: 'integer',
    min: 0,
    unit: 'samples',
    help: 'samples per held-out problem in an evaluation; 0: greedy only',
  },
  resume: { type: 'string', placeholder: 'folder', help: 'resume the run in this folder, with its own options' },
  dryRun: {
    type: 'boolean',
    default: false,
    help: 'print the work, memory, disk space and time that the run needs, and exit; exit code 1 if it does not fit',
  },
  saveEvery: {
    type: 'integer',
    min: 0,
    default: 25,
    unit: 'updates',
    help: 'updates between checkpoints; 0: only at the end',
  },
  keep: {
    type: 'integer',
    min: 1,
    default: 2,
    or: 'best',
    unit: 'checkpoints',
    help: 'newest checkpoints to keep; best: end with the model that did best on the validation problems',
  },
  tensorboard: { type: 'boolean', default: false, help: 'also write event files for TensorBoard into the run folder' },
  ...serverOptions,
  ...resultOptions,
  ...machineOptions,
  ...remoteOptions,
  json: { type: 'boolean', default: false, help: 'print events and the result as JSON lines' },
  config: {
    type: 'string',
    placeholder: 'file',
    help: 'read options from this TOML or JSON file, or from a run; flags override them',
  },
  quiet: { type: 'boolean', default: false, help: 'print only results and errors' },
  color: {
    type: 'boolean',
    default: true,
    help: 'no colours, as with NO_COLOR=1; FORCE_COLOR=1 adds colours to output that is not a terminal',
  },
} as const satisfies Record<string, OptionSpec>;

export type OptionName = keyof typeof options;

export const optionNames = Object.keys(options) as OptionName[];

type ValueOf<Spec> = Spec extends { type: 'boolean' }
  ? boolean
  : Spec extends { type: 'list' }
    ? readonly string[]
    : Spec extends { choices: readonly (infer Choice)[] }
      ? Spec extends { default: string }
        ? Choice
        : Choice | undefined
      : Spec extends { type: 'integer' | 'number'; default: number }
        ? number | (Spec extends { or: infer Word } ? Word : never)
        : Spec extends { type: 'integer' | 'number' }
          ? number | undefined
          : Spec extends { default: string }
            ? string
            : string | undefined;

/** The values of the named options, as a command receives them. */
export type OptionValues<Name extends OptionName = OptionName> = {
  readonly [Key in Name]: ValueOf<(typeof options)[Key]>;
};

/** Options from a command line or a file, before they are checked. A boolean that is false has its default. */
export type Flags = Readonly<Partial<Record<OptionName, string | boolean | readonly string[]>>>;

/** The option in help texts: `--no-install`, `--engine <auto|tensorflow|wasm>`, `--compare <folder...>`. */
export function usage(name: OptionName, value?: string): string {
  const spec: OptionSpec = options[name];
  if (spec.type === 'boolean') return flag(name);
  return `${flag(name)} <${value ?? placeholder(spec)}${spec.type === 'list' ? '...' : ''}>`;
}

/** The flag alone. */
export function flag(name: OptionName): string {
  const spec: OptionSpec = options[name];
  return spec.type === 'boolean' && spec.default ? `--no-${keyOf(name)}` : `--${keyOf(name)}`;
}

/** The flag that gives a boolean its default, where a file gave it the other value: `--no-force`, `--install`. */
export function oppositeFlag(name: OptionName): string {
  return flag(name).startsWith('--no-') ? `--${keyOf(name)}` : `--no-${keyOf(name)}`;
}

/** The option's key in a file: `batch-size`. */
export function keyOf(name: OptionName): string {
  const spec: OptionSpec = options[name];
  return (spec.word ?? name).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function placeholder(spec: Exclude<OptionSpec, { type: 'boolean' }>): string {
  if (spec.type === 'choice') return spec.choices.join('|');
  if (spec.type === 'string' || spec.type === 'list') return spec.placeholder;
  const unit = spec.unit ?? 'number';
  return spec.or === undefined ? unit : `${unit}|${spec.or}`;
}
