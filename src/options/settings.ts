/**
 * @file The settings of a run: the options that a user gave, completed by defaults that follow the model and the preset
 * (defaults.ts). A function of both, so a run that stored its options is set up again exactly alike.
 */

import { type HeldOutSplit, heldOutSplits } from '../data/products.js';
import type { PromptStyle, Wording } from '../data/prompt.js';
import type { AdamWOptions } from '../engine/optim/adamw-options.js';
import { type LoraOptions, loraTargets } from '../model/network/lora-options.js';
import { builtinModel, heldOutField } from '../model/shipped.js';
import type { MultiplicationRewardOptions } from '../reward/multiplication.js';
import { algorithms } from '../stage2/algorithm.js';
import { exitCodes, UserError } from '../util/errors.js';
import type { JsonRecord } from '../util/json.js';
import { defaultsTable } from './defaults.js';
import { resolveOptions } from './parse.js';
import { type OptionName, type OptionValues, trainingOptionNames } from './table.js';

export type TrainingOptions = OptionValues<(typeof trainingOptionNames)[number]>;

/** Every training option at its default, but for those `given`: for commands and library calls that set only some. */
export function defaultOptions(given: Partial<TrainingOptions> = {}): TrainingOptions {
  return { ...resolveOptions(trainingOptionNames, {}, {}, []), ...given };
}

/** Options whose default follows the model. */
type Following = 'batchSize' | 'lr' | 'beta1' | 'beta2' | 'numSamples' | 'temperature' | 'maxNewTokens' | 'model';
type Complete = { readonly [Name in Following]: NonNullable<TrainingOptions[Name]> };

export type Settings = Omit<TrainingOptions, Following> &
  Complete & {
    readonly wording: Wording;
    readonly promptStyle: PromptStyle;
    readonly rewardReads: MultiplicationRewardOptions['read'];
    readonly warmupSteps: number;
    /** Fraction of the learning rate that a cosine leads down to at the last update; 1 keeps it constant. */
    readonly decayTo: number;
    /** Absent: all weights are trained. */
    readonly lora?: LoraOptions;
    readonly optimizer: AdamWOptions;
    readonly maxGradientNorm: number;
  };

/** What defaults depend on. */
export interface ModelFacts {
  /** The split that a built-in model, or one trained from it, was never shown. */
  readonly heldOut: HeldOutSplit | undefined;
  readonly hasChatTemplate: boolean;
}

function defaultsFor(preset: TrainingOptions['preset'], { heldOut, hasChatTemplate }: ModelFacts) {
  const column = defaultsTable[preset === 'seed' ? 'seed' : heldOut !== undefined ? 'builtin' : 'others'];
  // The built-in model knows one wording only.
  const wording: Wording = heldOut !== undefined ? 'builtin' : column.wording;
  const promptStyle: PromptStyle = hasChatTemplate ? 'chat' : 'raw';
  return { ...column, wording, promptStyle };
}

export function heldOutSplitOf(configRecord: JsonRecord): HeldOutSplit | undefined {
  const name = configRecord[heldOutField];
  return typeof name === 'string' && Object.hasOwn(heldOutSplits, name) ? (name as HeldOutSplit) : undefined;
}

/** @throws UserError (wrong usage) that lists every combination which makes no sense. */
export function completeSettings(options: TrainingOptions, model: ModelFacts): Settings {
  const defaults = defaultsFor(options.preset, model);
  const settings: Settings = {
    ...options,
    model: options.model ?? builtinModel,
    batchSize: options.batchSize ?? defaults.batchSize,
    lr: options.lr ?? defaults.lr,
    beta1: options.beta1 ?? defaults.beta1,
    beta2: options.beta2 ?? defaults.beta2,
    numSamples: options.numSamples ?? defaults.numSamples,
    temperature: options.temperature ?? defaults.temperature,
    maxNewTokens: options.maxNewTokens ?? defaults.maxNewTokens,
    wording: defaults.wording,
    promptStyle: defaults.promptStyle,
    rewardReads: defaults.rewardReads,
    warmupSteps: defaults.warmupSteps,
    decayTo: defaults.decayTo,
    keepUnsolved: options.keepUnsolved || options.preset === 'seed',
    optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
    maxGradientNorm: 1,
  };
  const problems: string[] = [];
  const lora = loraOptions(options, problems);
  if (settings.task !== undefined && settings.problems !== undefined) {
    problems.push('--problems: --task brings problems of its own');
  }
  if (settings.temperature === 0) problems.push('--temperature: training samples, so it must be above 0');
  const algorithm = algorithms[settings.algo];
  problems.push(...algorithm.problems(settings));
  if (!algorithm.needsVStar && settings.vStar !== undefined) {
    problems.push(`--v-star: ${algorithm.title} uses none`);
  }
  if (problems.length > 0) throw new UserError(problems.join('\n'), { exitCode: exitCodes.usage });
  return lora === undefined ? settings : { ...settings, lora };
}

function loraOptions(
  { loraRank: rank, loraAlpha, loraTargets: names, reference }: TrainingOptions,
  problems: string[],
): LoraOptions | undefined {
  if (rank === undefined) {
    if (loraAlpha !== undefined) problems.push('--lora-alpha: without --lora-rank no adapters are trained');
    if (names !== undefined) problems.push('--lora-targets: without --lora-rank no adapters are trained');
    return undefined;
  }
  if (reference !== undefined) problems.push('--reference: that of adapters is the model without them');
  const wanted = names?.split(',').map((name) => name.trim());
  const unknown = wanted?.filter((name) => !(loraTargets as readonly string[]).includes(name)) ?? [];
  if (unknown.length > 0) {
    problems.push(`--lora-targets: expected some of ${loraTargets.join(', ')}, found ${unknown.join(', ')}`);
  }
  const targets = loraTargets.filter((target) => wanted?.includes(target) ?? true);
  return { rank, alpha: loraAlpha ?? 2 * rank, targets };
}

/** Texts as the command line would have them, so that stored options are checked by the same rules. */
export function optionsAsFlags(stored: JsonRecord): Partial<Record<OptionName, string | boolean>> {
  const flags: Partial<Record<OptionName, string | boolean>> = {};
  for (const name of trainingOptionNames) {
    const value = Object.hasOwn(stored, name) ? stored[name] : undefined;
    // A boolean that is on was given as a flag; one that is off was not.
    if (value === undefined || value === null || value === false) continue;
    flags[name] = value === true ? true : String(value);
  }
  return flags;
}
