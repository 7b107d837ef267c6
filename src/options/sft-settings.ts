/**
 * @file The settings of a run of supervised training: the given options, completed by defaults that depend on the model. A pure
 * function, so that a resumed run gets the same settings from its stored options.
 */
import type { PromptStyle } from '../data/prompt.js';
import type { AdamWOptions } from '../engine/optim/settings.js';
import type { LoraOptions } from '../model/network/params.js';
import { builtinModel } from '../model/shipped.js';
import { exitCodes, UserError } from '../util/errors.js';
import { defaultsTable, optimizer, sftDefaults } from './defaults.js';
import { sftOptionNames } from './names.js';
import { loraOptions, type ModelFacts, modelKindOf } from './settings.js';
import { resolveOptions } from './spec.js';
import type { OptionValues } from './table.js';

export type SftOptions = OptionValues<(typeof sftOptionNames)[number]>;

/** All options of supervised training, with defaults for those not `given`. */
export function defaultSftOptions(given: Partial<SftOptions>): SftOptions {
  return { ...resolveOptions(sftOptionNames, {}, {}, []), ...given };
}

type Completed = 'model' | 'epochs' | 'batchSize' | 'lr';

export type SftSettings = Omit<SftOptions, Completed> & {
  readonly [Name in Completed]: NonNullable<SftOptions[Name]>;
} & {
  readonly promptStyle: PromptStyle;
  /** Absent if all weights are trained. */
  readonly lora?: LoraOptions;
  /** Share of the updates with a growing learning rate, if `warmup` is absent. */
  readonly warmupShare: number;
  /** Fraction of the peak learning rate at the end of the cosine. */
  readonly decayTo: number;
  readonly optimizer: AdamWOptions;
  readonly maxGradientNorm: number;
};

/** @throws UserError (wrong usage) that lists every invalid option. */
export function completeSftSettings(options: SftOptions, model: ModelFacts): SftSettings {
  const problems: string[] = [];
  const lora = loraOptions(options, problems);
  const { questionStyle } = options;
  const promptStyle = questionStyle === 'auto' ? (model.hasChatTemplate ? 'chat' : 'raw') : questionStyle;
  if (promptStyle === 'chat' && !model.hasChatTemplate) {
    problems.push('--prompt-style: chat needs a model with a chat template');
  }
  if (options.keep === 'best') problems.push('--keep: best is for tinyzero train, which has validation problems');
  if (problems.length > 0) throw new UserError(problems.join('\n'), { exitCode: exitCodes.usage });
  const { lr, warmupShare, decayTo } = defaultsTable[modelKindOf(model)];
  return {
    ...options,
    model: options.model ?? builtinModel,
    epochs: options.epochs ?? sftDefaults.epochs,
    batchSize: options.batchSize ?? sftDefaults.batchSize,
    lr: options.lr ?? lr(model.parameters, { lora: lora !== undefined, freeze: 'none' }),
    promptStyle,
    ...(lora && { lora }),
    warmupShare,
    decayTo,
    optimizer,
    maxGradientNorm: 1,
  };
}
