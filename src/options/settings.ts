/**
 * @file The settings of a run: the options that a user gave, completed by defaults that follow the model and the preset
 * (defaults.ts). A function of both, so a run that stored its options is set up again exactly alike.
 */

import { type HeldOutSplit, heldOutSplits } from '../data/products.js';
import type { PromptStyle, Wording } from '../data/prompt.js';
import type { AdamWOptions } from '../engine/optim/adamw-options.js';
import { type LoraOptions, loraTargets } from '../model/network/lora-options.js';
import { builtinModel, heldOutField } from '../model/shipped.js';
import { algorithms } from '../stage2/algorithm.js';
import { exitCodes, UserError } from '../util/errors.js';
import type { JsonRecord } from '../util/json.js';
import {
  type Defaults,
  defaultsTable,
  type FollowingDefaults,
  type FollowingSettings,
  type ModelKind,
} from './defaults.js';
import { resolveOptions } from './parse.js';
import { type OptionName, type OptionValues, trainingOptionNames } from './table.js';

export type TrainingOptions = OptionValues<(typeof trainingOptionNames)[number]>;

/** Every training option at its default, but for those `given`: for commands and library calls that set only some. */
export function defaultOptions(given: Partial<TrainingOptions> = {}): TrainingOptions {
  return { ...resolveOptions(trainingOptionNames, {}, {}, []), ...given };
}

/** Options that are complete in settings. */
type Completed = {
  readonly [Name in Exclude<keyof FollowingDefaults, 'lr'> | 'lr' | 'maxNewTokens' | 'model' | 'shots']: NonNullable<
    TrainingOptions[Name]
  >;
};

export type Settings = Omit<TrainingOptions, keyof Completed | 'wording'> &
  Completed &
  Omit<FollowingSettings, 'wordings' | 'shots'> & {
    readonly modelKind: ModelKind;
    /** Of the built-in task. Until a probe has chosen, the first of {@link Settings.wordings}. */
    readonly wording: Wording;
    /** What the probe chooses from; one where there is nothing to choose. */
    readonly wordings: readonly Wording[];
    readonly promptStyle: PromptStyle;
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
  /** Number of parameters. */
  readonly parameters: number;
}

export function heldOutSplitOf(configRecord: JsonRecord): HeldOutSplit | undefined {
  const name = configRecord[heldOutField];
  return typeof name === 'string' && Object.hasOwn(heldOutSplits, name) ? (name as HeldOutSplit) : undefined;
}

function modelKindOf({ heldOut, hasChatTemplate }: Omit<ModelFacts, 'parameters'>): ModelKind {
  if (heldOut !== undefined) return 'builtin';
  return hasChatTemplate ? 'instruct' : 'base';
}

/** @throws UserError (wrong usage) that lists every combination of options that makes no sense. */
export function completeSettings(options: TrainingOptions, model: ModelFacts): Settings {
  const modelKind = modelKindOf(model);
  const column = options.preset === 'seed' ? 'seed' : modelKind;
  const defaults: Defaults = defaultsTable[column];
  const promptStyle =
    options.questionStyle === 'auto' ? (model.hasChatTemplate ? 'chat' : 'raw') : options.questionStyle;
  // The built-in models can spell no other wording than their own.
  const offered: readonly Wording[] = modelKind === 'builtin' ? ['builtin'] : defaults.wordings;
  const candidates = options.wording === 'auto' ? offered : [options.wording];
  const wording = candidates[0]!;
  const isBuiltinTask = options.task === undefined && options.problems === undefined;
  const { maxNewTokens: limits } = defaults;
  const loraProblems: string[] = [];
  const lora = loraOptions(options, loraProblems);
  const settings: Settings = {
    ...options,
    model: options.model ?? builtinModel,
    numTrain: options.numTrain ?? defaults.numTrain,
    epochs: options.epochs ?? defaults.epochs,
    numSamples: options.numSamples ?? defaults.numSamples,
    evalSamples: options.evalSamples ?? defaults.evalSamples,
    batchSize: options.batchSize ?? defaults.batchSize,
    lr: options.lr ?? defaults.lr(model.parameters, lora !== undefined),
    beta1: options.beta1 ?? defaults.beta1,
    beta2: options.beta2 ?? defaults.beta2,
    temperature: options.temperature ?? defaults.temperature,
    maxNewTokens: options.maxNewTokens ?? (isBuiltinTask ? limits[wording] : undefined) ?? limits.other,
    reward: options.reward ?? defaults.reward,
    // Without stage 1 there are no pass rates to draw by.
    curriculum: options.curriculum ?? (algorithms[options.algo].needsVStar ? defaults.curriculum : 'none'),
    // Examples are solved problems of the built-in task, or need a task's solution(problem): asked for there.
    shots: options.shots ?? (isBuiltinTask ? defaults.shots : 0),
    modelKind,
    wording,
    wordings: isBuiltinTask ? candidates : [wording],
    promptStyle,
    rewardReads: defaults.rewardReads,
    warmupShare: defaults.warmupShare,
    decayTo: defaults.decayTo,
    trainOn: options.trainOn ?? defaults.trainOn,
    optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
    maxGradientNorm: 1,
  };
  refuseContradictions(settings, model, loraProblems);
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

function refuseContradictions(settings: Settings, { hasChatTemplate }: ModelFacts, found: readonly string[]): void {
  const { task, problems, temperature, algo, vStar, curriculum, promptStyle } = settings;
  const refused: string[] = [...found];
  if (task !== undefined && problems !== undefined) refused.push('--problems: --task brings problems of its own');
  if (temperature === 0) refused.push('--temperature: training samples, so it must be above 0');
  const algorithm = algorithms[algo];
  refused.push(...algorithm.problems(settings));
  if (!algorithm.needsVStar && vStar !== undefined) refused.push(`--v-star: ${algorithm.title} uses none`);
  if (!algorithm.needsVStar && curriculum === 'mixed') {
    refused.push(`--curriculum: mixed needs the pass rates of stage 1, and ${algorithm.title} has none`);
  }
  if (promptStyle === 'chat' && !hasChatTemplate) {
    refused.push('--prompt-style: chat needs a model with a chat template');
  }
  if (refused.length > 0) throw new UserError(refused.join('\n'), { exitCode: exitCodes.usage });
}

/** Updates in which the learning rate grows, of `updates` in all; of a few updates none is given up to it. */
export function warmupSteps({ warmup, warmupShare }: Pick<Settings, 'warmup' | 'warmupShare'>, updates: number) {
  return warmup ?? Math.ceil(warmupShare * updates);
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
