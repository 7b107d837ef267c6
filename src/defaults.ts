/** @file Every training option at its default, for commands and library calls that set only some. */
import { resolveOptions } from './config.js';
import { type TrainingOptions, trainingOptionNames } from './settings.js';

export function defaultOptions(given: Partial<TrainingOptions> = {}): TrainingOptions {
  return { ...resolveOptions(trainingOptionNames, {}, {}, []), ...given };
}
