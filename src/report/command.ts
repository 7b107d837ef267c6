/**
 * @file The command that repeats a run, with every resolved option whose value depends on the model or the version.
 */
import { optionsAsFlags } from '../options/settings.js';
import type { OptionSpec } from '../options/spec.js';
import { flag, type OptionName, options, trainingOptionNames } from '../options/table.js';
import type { StoredRun } from '../run/record.js';

/** A command line for a POSIX shell, in pieces such as `tinyzero train` and `--seed 1`. */
export function repeatCommand({ options: values, engine }: Pick<StoredRun, 'options' | 'engine'>): string[] {
  const flags = optionsAsFlags({ ...values });
  const pieces = trainingOptionNames.flatMap((name) => {
    const value = flags[name];
    if (value === undefined || value === defaultText(name)) return [];
    return [value === true ? flag(name) : `${flag(name)} ${shellWord(String(value))}`];
  });
  return ['tinyzero train', ...pieces, `--engine ${engine}`];
}

function defaultText(name: OptionName): string | undefined {
  const spec: OptionSpec = options[name];
  return spec.default === undefined ? undefined : String(spec.default);
}

/** `text` as one word for a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
