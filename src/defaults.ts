/** @file Every training option at its default, for commands and library calls that set only some. */
import { trainingOptionNames } from './config.js';
import { resolveOptions } from './option-values.js';
import type { TrainingOptions } from './settings.js';

export function defaultOptions(given: Partial<TrainingOptions> = {}): TrainingOptions {
  return { ...resolveOptions(trainingOptionNames, {}, {}, []), ...given };
}
