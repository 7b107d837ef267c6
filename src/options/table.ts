/**
 * @file The option table: every option of every command, once, with type, default, unit and help. Flags, validation,
 * help texts, README tables and the record that a run saves all come from here. Knows nothing of commander.
 */
import { engineSettings, precisions } from '../engine/choices.js';
import { algorithmNames } from '../stage2/algorithm.js';

interface Common {
  /** One line for `--help`, without the default, which is added. */
  readonly help: string;
  /** Environment variable that sets it where the flag is absent. */
  readonly env?: string;
  /** The flag's word where it is not the option's own name: one word may mean different things to different commands. */
  readonly word?: string;
}

export type OptionSpec = Common &
  (
    | { readonly type: 'boolean'; readonly default: boolean }
    | { readonly type: 'choice'; readonly choices: readonly string[]; readonly default: string }
    | { readonly type: 'string'; readonly placeholder: string; readonly default?: string }
    | { readonly type: 'list'; readonly placeholder: string; readonly default: readonly [] }
    | ({ readonly type: 'integer' | 'number'; readonly default?: number } & Range)
  );

interface Range {
  readonly min?: number;
  /** As `min`, but not itself allowed. */
  readonly above?: number;
  readonly max?: number;
  /** What one is: `tokens`, `steps`. */
  readonly unit?: string;
}

/** A boolean whose default is true has the flag `--no-<name>`. Names are camelCase, flags kebab-case. */
export const options = {
  engine: {
    type: 'choice',
    choices: engineSettings,
    default: 'auto',
    env: 'TINYZERO_ENGINE',
    help: 'what computes: native TensorFlow, WebAssembly, or the faster one that can be had',
  },
  install: {
    type: 'boolean',
    default: true,
    env: 'TINYZERO_NO_INSTALL',
    help: 'do not install the native engine when it is missing',
  },
  gpu: { type: 'boolean', default: false, help: 'take the CUDA build of TensorFlow (Linux x86-64, 3.4 GB download)' },
  from: {
    type: 'string',
    placeholder: 'path',
    help: 'make the result from this file (a wheel or a folder of wheels; a v_star_dict.json) instead of anew',
  },
  force: { type: 'boolean', default: false, help: 'go on where the command would stop: install again, replace' },
  json: { type: 'boolean', default: false, help: 'print the result as JSON' },
  quiet: { type: 'boolean', default: false, help: 'print results and errors only' },
  color: {
    type: 'boolean',
    default: true,
    help: 'print without colours, as NO_COLOR=1 does; FORCE_COLOR=1 colours even what is no terminal',
  },
  model: {
    type: 'string',
    placeholder: 'folder|id',
    help: 'folder of a Hugging Face checkpoint, its id on the hub (org/name[@revision]), builtin or builtin-b',
  },
  prompt: { type: 'string', placeholder: 'text', help: 'text to complete; - reads it from standard input' },
  input: {
    type: 'string',
    placeholder: 'file',
    help: 'file of JSON lines, one object each; - reads standard input',
  },
  promptStyle: {
    type: 'choice',
    choices: ['raw', 'chat'],
    default: 'raw',
    help: "give the model the text as it is, or as a user's message in its chat template",
  },
  chat: { type: 'boolean', default: false, help: 'the same as --prompt-style chat' },
  temperature: { type: 'number', min: 0, help: 'divides the logits before the softmax; 0 is greedy' },
  topP: {
    type: 'number',
    above: 0,
    max: 1,
    help: 'draw only from the most likely tokens that together have this probability',
  },
  topK: { type: 'integer', min: 0, unit: 'tokens', help: 'draw only from this many most likely tokens; 0 for all' },
  maxNewTokens: { type: 'integer', min: 1, unit: 'tokens', help: 'longest completion' },
  samples: { type: 'integer', min: 1, unit: 'completions', help: 'completions of each prompt' },
  seed: { type: 'integer', min: 0, default: 0, help: 'the same seed draws the same' },
  precision: {
    type: 'choice',
    choices: precisions,
    default: 'f32',
    help: 'what matrix products are computed in; bf16 is faster for large models, and needs the tensorflow engine',
  },
  algo: {
    type: 'choice',
    choices: algorithmNames,
    default: algorithmNames[0],
    help: 'what trains: A*PO, or GRPO or REINFORCE with as many rollouts as its two stages',
  },
  preset: {
    type: 'choice',
    choices: ['default', 'seed'],
    default: 'default',
    help: 'defaults that follow the model; or the set-up of the project that this one began from',
  },
  reference: { type: 'string', placeholder: 'folder|id', help: 'reference model of V* and loss; --model if absent' },
  vStar: { type: 'string', placeholder: 'file', help: 'take V* from this v_star_dict.json instead of sampling' },
  task: {
    type: 'string',
    placeholder: 'file',
    help: 'problems and reward from this JavaScript or TypeScript file instead of multiplication',
  },
  problems: {
    type: 'string',
    placeholder: 'file',
    help: 'problems from this file of JSON lines, {"prompt": …, "answer": …}, instead of multiplication',
  },
  min: { type: 'integer', min: 0, default: 2, help: 'smallest factor of the multiplications' },
  max: { type: 'integer', min: 0, default: 12, help: 'largest factor of the multiplications' },
  numTrain: { type: 'integer', min: 1, default: 500, unit: 'rows', help: 'training rows, drawn with replacement' },
  numTest: { type: 'integer', min: 1, default: 50, unit: 'problems', help: 'held-out problems to evaluate on' },
  epochs: { type: 'integer', min: 1, default: 3, help: 'how often stage 2 visits every row' },
  batchSize: { type: 'integer', min: 1, unit: 'rollouts', help: 'rollouts of one update' },
  microBatch: {
    type: 'integer',
    min: 1,
    unit: 'sequences',
    help: 'sequences of an update that are computed together; fewer need less memory; chosen by the model if absent',
  },
  lr: { type: 'number', above: 0, help: 'learning rate of AdamW' },
  beta1: { type: 'number', min: 0, help: 'temperature of V*: small is near the best reward, large near the mean' },
  beta2: { type: 'number', above: 0, help: 'weight of the log-ratio to the reference in the loss' },
  numSamples: { type: 'integer', min: 1, unit: 'samples', help: 'samples of each distinct problem in stage 1' },
  reward: {
    type: 'choice',
    choices: ['graded', 'exact'],
    default: 'graded',
    help: 'graded gives 0.3 for a near miss; exact gives 1 or 0',
  },
  keepUnsolved: { type: 'boolean', default: false, help: 'also train on problems that stage 1 never solved' },
  overlap: {
    type: 'choice',
    choices: ['none', 'seed'],
    default: 'none',
    help: 'seed draws the test problems from the training problems, for comparison only',
  },
  evalEvery: { type: 'integer', min: 0, default: 10, unit: 'updates', help: 'look at held-out accuracy; 0 for never' },
  evalSamples: {
    type: 'integer',
    min: 0,
    default: 64,
    unit: 'samples',
    help: 'samples of each held-out problem in an evaluation; 0 for greedy alone',
  },
  saveEvery: { type: 'integer', min: 0, default: 25, unit: 'updates', help: 'checkpoint; 0 for only at the end' },
  tensorboard: { type: 'boolean', default: false, help: 'also write event files for TensorBoard into the run' },
  keep: { type: 'integer', min: 1, default: 2, unit: 'checkpoints', help: 'newest checkpoints that are kept' },
  checkpoint: { type: 'string', placeholder: 'folder|id', help: 'model, checkpoint or run folder; builtin if absent' },
  compare: {
    type: 'string',
    placeholder: 'folder|file',
    help: 'set this model beside it; eval also takes the JSON of an evaluation',
  },
  compareRuns: {
    type: 'list',
    placeholder: 'folder',
    default: [],
    word: 'compare',
    help: 'lay these runs over the first',
  },
  open: { type: 'boolean', default: false, help: 'open the report in a browser' },
  shard: {
    type: 'string',
    placeholder: 'i/n',
    help: 'only the i-th of n parts of the problems; merge-vstar joins them',
  },
  partial: {
    type: 'boolean',
    default: false,
    help: 'merge although shards are missing, interrupted or given twice',
  },
  corpus: {
    type: 'choice',
    choices: ['tiny', 'tiny-b'],
    default: 'tiny',
    help: 'the built-in model to make: its seed and the problems it is never shown',
  },
  steps: { type: 'integer', min: 1, unit: 'steps', help: 'instead of the recipe, for a quick try' },
  out: { type: 'string', placeholder: 'path', help: 'where the results go' },
  dryRun: {
    type: 'boolean',
    default: false,
    help: 'say what the run would do and need of memory and disk, and stop; exit code 1 if it cannot fit',
  },
  resume: { type: 'string', placeholder: 'folder', help: 'continue the run in this folder, with its own options' },
} as const satisfies Record<string, OptionSpec>;

export type OptionName = keyof typeof options;

/** Options that every command takes. */
export const commonOptionNames = ['quiet', 'color'] as const satisfies readonly OptionName[];
export type CommonOptionName = (typeof commonOptionNames)[number];

/** Options that decide what stage 1 samples. */
export const samplingOptionNames = [
  'preset',
  'model',
  'reference',
  'task',
  'problems',
  'min',
  'max',
  'numTrain',
  'numTest',
  'overlap',
  'seed',
  'numSamples',
  'beta1',
  'temperature',
  'maxNewTokens',
  'reward',
  'precision',
] as const satisfies readonly OptionName[];

/** Options that decide the rest of a run's bytes. */
export const trainingOptionNames = [
  ...samplingOptionNames,
  'algo',
  'epochs',
  'batchSize',
  'microBatch',
  'lr',
  'beta2',
  'keepUnsolved',
  'vStar',
  'force',
  'evalEvery',
  'evalSamples',
  'saveEvery',
  'keep',
  'tensorboard',
] as const satisfies readonly OptionName[];
/** Options of an evaluation by itself. */
export const evaluationOptionNames = [
  'checkpoint',
  'compare',
  'samples',
  'preset',
  'task',
  'problems',
  'min',
  'max',
  'numTest',
  'overlap',
  'seed',
  'temperature',
  'maxNewTokens',
  'reward',
  'precision',
] as const satisfies readonly OptionName[];

type ValueOf<Spec> = Spec extends { type: 'boolean' }
  ? boolean
  : Spec extends { type: 'list' }
    ? readonly string[]
    : Spec extends { choices: readonly (infer Choice)[] }
      ? Choice
      : Spec extends { type: 'integer' | 'number'; default: number }
        ? number
        : Spec extends { type: 'integer' | 'number' }
          ? number | undefined
          : Spec extends { default: string }
            ? string
            : string | undefined;

/** The values of the named options, as a command gets them. */
export type OptionValues<Name extends OptionName = OptionName> = {
  readonly [Key in Name]: ValueOf<(typeof options)[Key]>;
};

/** What stands on a command line, before it is checked. */
export type Flags = Readonly<Partial<Record<OptionName, string | boolean | readonly string[]>>>;

/** `--no-install`, `--engine <auto|tensorflow|wasm>`, `--compare <folder...>`: as help texts show it. */
export function usage(name: OptionName): string {
  const spec: OptionSpec = options[name];
  if (spec.type === 'boolean') return flag(name);
  return `${flag(name)} <${placeholder(spec)}${spec.type === 'list' ? '...' : ''}>`;
}

/** The flag alone. */
export function flag(name: OptionName): string {
  const spec: OptionSpec = options[name];
  const kebab = (spec.word ?? name).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return spec.type === 'boolean' && spec.default ? `--no-${kebab}` : `--${kebab}`;
}

/** Help with default and environment variable. */
export function describeOption(name: OptionName): string {
  const spec: OptionSpec = options[name];
  const notes: string[] = [];
  if (hasDefault(spec)) notes.push(`default: ${spec.default}`);
  if (spec.env !== undefined) notes.push(`env: ${spec.env}`);
  return notes.length === 0 ? spec.help : `${spec.help} (${notes.join(', ')})`;
}

/** Whether it has a value worth showing where the flag is absent. */
function hasDefault(spec: OptionSpec): boolean {
  return spec.type !== 'boolean' && spec.type !== 'list' && spec.default !== undefined;
}

function placeholder(spec: Exclude<OptionSpec, { type: 'boolean' }>): string {
  if (spec.type === 'choice') return spec.choices.join('|');
  if (spec.type === 'string' || spec.type === 'list') return spec.placeholder;
  return spec.unit ?? 'number';
}

/** A markdown table of the named options, for the README. */
export function optionTable(names: readonly OptionName[]): string {
  const rows = names.map((name) => {
    const spec: OptionSpec = options[name];
    const fallback = hasDefault(spec) ? `\`${spec.default}\`` : '';
    const env = spec.env === undefined ? '' : `\`${spec.env}\``;
    return `| \`${usage(name).replaceAll('|', '\\|')}\` | ${fallback} | ${env} | ${spec.help} |`;
  });
  return ['| flag | default | environment | |', '| --- | --- | --- | --- |', ...rows].join('\n');
}
