/**
 * @file Options of a command that runs the trained model of a run: those given, then the run's own, then the defaults.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { TrainingOptions } from '../options/settings.js';
import type { OptionName } from '../options/table.js';
import { commandOfRun, runFiles } from '../run/folder.js';
import { readRun } from '../run/record.js';

/** The options of the run of `train` in a folder. Undefined for other models. @throws UserError for a damaged record. */
export function optionsOfRun(folder: string): TrainingOptions | undefined {
  const path = join(folder, runFiles.config);
  return commandOfRun(folder) === 'train' && existsSync(path) ? readRun(path).options : undefined;
}

/**
 * `values` of a command line, where the run's `own` options replace those that were not `given`. A given task or file of
 * problems replaces the run's, whichever it has. A given preset replaces all options of the run by its defaults.
 */
export function withOwnOptions(
  values: Partial<TrainingOptions>,
  own: Partial<TrainingOptions> | undefined,
  given: ReadonlySet<OptionName>,
): Partial<TrainingOptions> {
  if (own === undefined || given.has('preset')) return values;
  const problems: readonly string[] = ['task', 'problems'];
  const isGiven: ReadonlySet<string> = given;
  const isReplaced = (name: string) =>
    problems.includes(name) ? problems.some((each) => isGiven.has(each)) : isGiven.has(name);
  return { ...values, ...Object.fromEntries(Object.entries(own).filter(([name]) => !isReplaced(name))) };
}
