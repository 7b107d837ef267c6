/** @file Which options belong to a command or to a run, by name. */
import type { OptionName } from './table.js';

/** Options that every command takes. */
export const commonOptionNames = ['quiet', 'color'] as const satisfies readonly OptionName[];
/** {@link commonOptionNames} and the file that options are read from, before the command runs. */
export const everyCommandOptionNames = [...commonOptionNames, 'config'] as const satisfies readonly OptionName[];
export type CommonOptionName = (typeof commonOptionNames)[number];

/** Options that choose the problems, of the built-in task or another. */
export const problemOptionNames = [
  'task',
  'problems',
  'map',
  'subset',
  'split',
  'testSplit',
  'min',
  'max',
] as const satisfies readonly OptionName[];

/** Options that decide how a problem is asked, answered and graded. */
const answerOptionNames = [
  'temperature',
  'maxNewTokens',
  'wording',
  'questionStyle',
  'system',
  'shots',
  'reward',
  'precision',
  'samplerWeights',
] as const satisfies readonly OptionName[];

/** Options that decide how an update is computed. */
const updateOptionNames = [
  'batchSize',
  'microBatch',
  'loraRank',
  'loraAlpha',
  'loraTargets',
  'lr',
  'warmup',
] as const satisfies readonly OptionName[];

/** Options of a server that samples. */
export const serverOptionNames = [
  'samplerUrl',
  'samplerModel',
  'apiKeyEnv',
  'concurrency',
] as const satisfies readonly OptionName[];

/** Options that decide what stage 1 samples. */
export const samplingOptionNames = [
  'preset',
  'model',
  'reference',
  ...problemOptionNames,
  'numTrain',
  'numTest',
  'numValidation',
  'overlap',
  'seed',
  'numSamples',
  'beta1',
  ...answerOptionNames,
] as const satisfies readonly OptionName[];

/** Options of stage 1 by itself. */
export const estimationOptionNames = [
  ...samplingOptionNames,
  'fromVStar',
  'shard',
  'out',
] as const satisfies readonly OptionName[];

/** The user's description of a run. */
const labelOptionNames = ['name', 'note'] as const satisfies readonly OptionName[];

/** Options that determine the rest of a run's bytes. */
export const trainingOptionNames = [
  ...samplingOptionNames,
  ...serverOptionNames,
  'algo',
  'control',
  'epochs',
  'freeze',
  ...updateOptionNames,
  'beta2',
  'refreshEvery',
  'trainOn',
  'curriculum',
  'maxSteps',
  'stopWhenFlat',
  'vStar',
  'force',
  'evalEvery',
  'evalSamples',
  'saveEvery',
  'keep',
  'tensorboard',
  'tinkerUrl',
  'tinkerModel',
  ...labelOptionNames,
] as const satisfies readonly OptionName[];

/** Options that determine the bytes of a run of supervised training. */
export const sftOptionNames = [
  'model',
  'data',
  'heldOut',
  'questionStyle',
  'system',
  'seed',
  'epochs',
  ...updateOptionNames,
  'precision',
  'evalEvery',
  'saveEvery',
  'keep',
  ...labelOptionNames,
] as const satisfies readonly OptionName[];

/** Options of an evaluation by itself. */
export const evaluationOptionNames = [
  'model',
  'compare',
  'samples',
  'preset',
  ...problemOptionNames,
  'numTest',
  'overlap',
  'seed',
  ...answerOptionNames,
] as const satisfies readonly OptionName[];
