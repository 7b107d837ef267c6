/** @file Texts about options: lines of `--help`, descriptions of defaults, and the tables of docs/commands.md. */
import { followingDefaultText } from './defaults.js';
import { problemOptionNames, serverOptionNames } from './names.js';
import type { OptionSpec } from './spec.js';
import { type OptionName, options, usage } from './table.js';

/** The headings of `--help`, in order, with their options. A command can move an option to another heading. */
export const optionGroups = {
  Model: [
    'model',
    'reference',
    'preset',
    'compare',
    'compareRuns',
    'corpus',
    'family',
    'steps',
    'precision',
    'samplerWeights',
  ],
  Prompts: ['prompt', 'input', 'chat', 'promptStyle', 'wording', 'questionStyle', 'system', 'shots'],
  Sampling: ['temperature', 'topP', 'topK', 'maxNewTokens', 'samples'],
  Server: serverOptionNames,
  Problems: [...problemOptionNames, 'numTrain', 'numTest', 'numValidation', 'overlap', 'reward', 'seed'],
  'Many runs': ['seeds', 'parallel'],
  Data: ['data', 'heldOut'],
  Training: [],
  'Stage 1': ['numSamples', 'beta1', 'vStar', 'fromVStar', 'shard', 'partial', 'force'],
  'Stage 2': [
    'algo',
    'control',
    'epochs',
    'batchSize',
    'microBatch',
    'lr',
    'warmup',
    'beta2',
    'refreshEvery',
    'freeze',
    'loraRank',
    'loraAlpha',
    'loraTargets',
    'trainOn',
    'curriculum',
    'maxSteps',
    'stopWhenFlat',
  ],
  Evaluation: ['evalEvery', 'evalSamples'],
  Output: [
    'out',
    'name',
    'note',
    'sort',
    'filter',
    'to',
    'dtype',
    'train',
    'check',
    'private',
    'yes',
    'resume',
    'dryRun',
    'saveEvery',
    'keep',
    'tensorboard',
    'watch',
    'port',
    'open',
    'json',
    'quiet',
    'color',
    'config',
  ],
  'Where it runs': ['on', 'tinkerUrl', 'tinkerModel', 'remoteGpu', 'timeout', 'volume', 'detach'],
  Engine: ['workers', 'listen', 'engine', 'gpuMemory', 'install', 'gpu', 'from', 'reinstall'],
} as const satisfies Record<string, readonly OptionName[]>;
export type OptionGroup = keyof typeof optionGroups;

/** A command's own texts about an option. */
export interface OptionText {
  readonly group?: OptionGroup;
  readonly help?: string;
  /** The placeholder for the value: `lines`. */
  readonly value?: string;
  /** The default in words: `the model`. */
  readonly default?: string;
}

/** Help with default and environment variable. */
export function describeOption(name: OptionName, text: OptionText = {}): string {
  const spec: OptionSpec = options[name];
  const notes: string[] = [];
  const value = text.default ?? defaultText(name);
  if (value !== undefined) notes.push(`default: ${value}`);
  if (spec.env !== undefined) notes.push(`env: ${spec.env}`);
  const help = text.help ?? spec.help;
  return notes.length === 0 ? help : `${help} (${notes.join(', ')})`;
}

/** The default as help shows it: a value, or values by model. Undefined for flags and for optional options. */
export function defaultText(name: OptionName): string | undefined {
  const spec: OptionSpec = options[name];
  if (spec.type === 'boolean' || spec.type === 'list') return undefined;
  return spec.default === undefined ? followingDefaultText(name) : String(spec.default);
}

/** A markdown table of the named options, for docs/commands.md. */
export function optionTable(
  names: readonly OptionName[],
  texts: Readonly<Partial<Record<OptionName, OptionText>>> = {},
): string {
  const rows = names.map((name) => {
    const spec: OptionSpec = options[name];
    const value = texts[name]?.default ?? defaultText(name) ?? '';
    const env = spec.env === undefined ? '' : `\`${spec.env}\``;
    return `| \`${usage(name, texts[name]?.value).replaceAll('|', '\\|')}\` | ${value} | ${env} | ${texts[name]?.help ?? spec.help} |`;
  });
  return ['| flag | default | environment | |', '| --- | --- | --- | --- |', ...rows].join('\n');
}
