/** @file What can be completed, from the command table and the option table, for the scripts of all shells. */
import { everyCommandOptionNames } from '../../options/names.js';
import type { OptionSpec } from '../../options/spec.js';
import { flag, type OptionName, options } from '../../options/table.js';
import { describeOption } from '../../options/texts.js';
import type { CommandSpec } from '../command-spec.js';

/** What may follow a flag, or stand as an argument. */
type Values =
  | { readonly kind: 'none' }
  | { readonly kind: 'text' }
  | { readonly kind: 'files'; readonly also: readonly string[] }
  | { readonly kind: 'choices'; readonly choices: readonly string[] };

export interface FlagWords {
  readonly flag: string;
  /** One line. */
  readonly help: string;
  readonly values: Values;
}

export interface CommandWords {
  /** `engine install` */
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly FlagWords[];
  readonly operands: Values;
}

export interface CompletionWords {
  /** The first words, with their summaries. */
  readonly first: readonly (readonly [word: string, summary: string])[];
  /** The second words of the groups. */
  readonly second: ReadonlyMap<string, readonly (readonly [word: string, summary: string])[]>;
  readonly commands: readonly CommandWords[];
}

export const shells = ['bash', 'zsh', 'fish'] as const;

const shippedModels = ['builtin', 'builtin-b'];

/** All commands, and the summaries of their groups. */
export interface CommandTable {
  readonly commands: readonly CommandSpec[];
  readonly groups: Readonly<Record<string, string>>;
}

export function completionWords({ commands, groups }: CommandTable): CompletionWords {
  const first = new Map<string, string>();
  const second = new Map<string, (readonly [string, string])[]>();
  for (const { words, summary } of commands) {
    const [word = '', sub] = words;
    first.set(word, sub === undefined ? summary : (groups[word] ?? ''));
    if (sub !== undefined) second.set(word, [...(second.get(word) ?? []), [sub, summary]]);
  }
  return { first: [...first], second, commands: commands.map(commandWords) };
}

function commandWords({ words, summary, options: own, texts, operands }: CommandSpec): CommandWords {
  const name = words.join(' ');
  const flags = [...own, ...everyCommandOptionNames].map((option): FlagWords => {
    const help = describeOption(option, texts?.[option]).replace(/\s+/g, ' ');
    return { flag: flag(option), help, values: valuesOf(option) };
  });
  return {
    name,
    summary,
    flags: [...flags, { flag: '--help', help: 'show help', values: { kind: 'none' } }],
    operands: operandValues(operands),
  };
}

function valuesOf(option: OptionName): Values {
  const spec: OptionSpec = options[option];
  if (spec.type === 'boolean') return { kind: 'none' };
  if (spec.type === 'choice') return { kind: 'choices', choices: spec.choices };
  if (spec.type !== 'string' && spec.type !== 'list') return { kind: 'text' };
  if (!/file|folder|path/.test(spec.placeholder)) return { kind: 'text' };
  return { kind: 'files', also: ['model', 'reference', 'compare'].includes(option) ? shippedModels : [] };
}

function operandValues(operands: string | undefined): Values {
  if (operands === undefined) return { kind: 'none' };
  if (operands === '<shell>') return { kind: 'choices', choices: shells };
  return operands === '<org/name>' ? { kind: 'text' } : { kind: 'files', also: [] };
}
