/**
 * @file The command that repeats a run, with every resolved option whose value depends on the model or the version.
 */
import type { RunEngine } from '../engine/choices.js';
import { optionsAsFlags } from '../options/settings.js';
import type { OptionSpec } from '../options/spec.js';
import { flag, type OptionName, options } from '../options/table.js';

/**
 * A command line for a POSIX shell, in pieces that belong together: `tinyzero train`, `--seed 1`, …
 *
 * @param names of the options of the run. @param run what its `config.json` says.
 */
export function repeatCommand(
  command: 'train' | 'sft',
  names: readonly OptionName[],
  { options: values, engine }: { readonly options: object; readonly engine: RunEngine },
): string[] {
  const flags = optionsAsFlags({ ...values }, names);
  const pieces = names.flatMap((name) => {
    const value = flags[name];
    if (value === undefined || value === defaultText(name)) return [];
    return [value === true ? flag(name) : `${flag(name)} ${shellWord(String(value))}`];
  });
  return [`tinyzero ${command}`, ...pieces, ...(engine === 'server' ? [] : [`--engine ${engine}`])];
}

function defaultText(name: OptionName): string | undefined {
  const spec: OptionSpec = options[name];
  return spec.default === undefined ? undefined : String(spec.default);
}

/** `text` as one word for a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
