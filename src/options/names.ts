/** @file Which options belong to a command or to a run, by name. */
import type { OptionName } from './table.js';

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
  'wording',
  'questionStyle',
  'system',
  'shots',
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
  'loraRank',
  'loraAlpha',
  'loraTargets',
  'lr',
  'warmup',
  'beta2',
  'trainOn',
  'curriculum',
  'vStar',
  'force',
  'evalEvery',
  'evalSamples',
  'saveEvery',
  'keep',
  'tensorboard',
] as const satisfies readonly OptionName[];

/** Options that decide the bytes of a run of supervised training. */
export const sftOptionNames = [
  'model',
  'data',
  'heldOut',
  'questionStyle',
  'system',
  'seed',
  'epochs',
  'batchSize',
  'microBatch',
  'loraRank',
  'loraAlpha',
  'loraTargets',
  'lr',
  'warmup',
  'precision',
  'evalEvery',
  'saveEvery',
  'keep',
] as const satisfies readonly OptionName[];

/** Options of an evaluation by itself. */
export const evaluationOptionNames = [
  'model',
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
  'wording',
  'questionStyle',
  'system',
  'shots',
  'reward',
  'precision',
] as const satisfies readonly OptionName[];
