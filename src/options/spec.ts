/**
 * @file The form of entries in the option table, and how texts of the command line and the environment become checked values.
 */
import type { ConfigFlags } from './config-file.js';
import { type Flags, flag, type OptionName, type OptionValues, options } from './table.js';

interface Common {
  /** One line for `--help`; the default is added. Commands may override it. */
  readonly help: string;
  /** Environment variable that sets the option if the flag is absent. */
  readonly env?: string;
  /** The flag's word if it differs from the option's name: `--compare` has different meanings in different commands. */
  readonly word?: string;
}

export type OptionSpec = Common &
  (
    | { readonly type: 'boolean'; readonly default: boolean }
    | { readonly type: 'choice'; readonly choices: readonly string[]; readonly default?: string }
    | { readonly type: 'string'; readonly placeholder: string; readonly default?: string }
    | { readonly type: 'list'; readonly placeholder: string; readonly default: readonly [] }
    | ({
        readonly type: 'integer' | 'number';
        readonly default?: number;
        /** A word that may stand for the number. */
        readonly or?: string;
      } & Range)
  );

interface Range {
  readonly min?: number;
  /** Exclusive lower bound. */
  readonly above?: number;
  readonly max?: number;
  /** Unit of the number: `tokens`, `steps`. */
  readonly unit?: string;
}

/**
 * Converts texts from the command line (`flags`: undefined if absent; true for a given boolean flag, false for its
 * opposite; all texts of a list), the environment and a file of options to values: the first of these that sets an option
 * decides. Adds every problem to `problems`, with its flag, variable or key.
 */
export function resolveOptions<Name extends OptionName>(
  names: readonly Name[],
  flags: Flags,
  env: NodeJS.ProcessEnv,
  problems: string[],
  file?: ConfigFlags,
): OptionValues<Name> {
  const values: Partial<Record<OptionName, unknown>> = {};
  for (const name of names) {
    const spec: OptionSpec = options[name];
    const fromEnv = fromEnvironment(spec, env);
    const isInFile = flags[name] === undefined && fromEnv === undefined && file !== undefined;
    const text = isInFile ? file.flags[name] : flags[name];
    const source = isInFile ? file.source(name) : flag(name);
    if (spec.type === 'boolean') {
      const set = text ?? (fromEnv !== undefined && isTrue(fromEnv.text, fromEnv.variable, problems));
      values[name] = set === true ? !spec.default : spec.default;
    } else if (spec.type === 'list') {
      const texts = Array.isArray(text) ? text : spec.default;
      for (const each of texts) parse(spec, each, source, problems);
      values[name] = texts;
    } else if (typeof text === 'string') values[name] = parse(spec, text, source, problems);
    else if (fromEnv !== undefined) values[name] = parse(spec, fromEnv.text, fromEnv.variable, problems);
    else values[name] = spec.default;
  }
  return values as OptionValues<Name>;
}

/** The environment variable of an option, if it is set and not empty. */
function fromEnvironment({ env: variable }: OptionSpec, env: NodeJS.ProcessEnv) {
  const text = variable === undefined ? undefined : env[variable];
  return variable === undefined || !text ? undefined : { variable, text };
}

function isTrue(text: string, variable: string, problems: string[]): boolean {
  if (/^(1|true|yes|on)$/i.test(text)) return true;
  if (!/^(0|false|no|off)$/i.test(text)) problems.push(`${variable}: expected 1 or 0, found '${text}'`);
  return false;
}

/** `apo, grpo or rloo`. */
export function alternatives(words: readonly string[]): string {
  return new Intl.ListFormat('en-GB', { type: 'disjunction' }).format(words);
}

function parse(spec: OptionSpec, text: string, source: string, problems: string[]): string | number | undefined {
  const fail = (expected: string) => {
    problems.push(`${source}: expected ${expected}, found '${text}'`);
    return undefined;
  };
  if (spec.type === 'choice') return spec.choices.includes(text) ? text : fail(alternatives(spec.choices));
  if (spec.type === 'string' || spec.type === 'list') return text === '' ? fail(`a ${spec.placeholder}`) : text;
  if (spec.type === 'boolean') return undefined;
  if (text === spec.or) return text;
  const number = text.trim() === '' ? Number.NaN : Number(text);
  const { min = -Infinity, above = -Infinity, max = Infinity } = spec;
  const whole = spec.type === 'integer';
  const inRange = Number.isFinite(number) && number >= min && number > above && number <= max;
  if (inRange && (!whole || Number.isSafeInteger(number))) return number;
  const bounds = [
    min > -Infinity ? `at least ${min}` : '',
    above > -Infinity ? `above ${above}` : '',
    max < Infinity ? `at most ${max}` : '',
  ].filter(Boolean);
  const expected = [whole ? 'a whole number' : 'a number', ...bounds].join(', ');
  return fail(spec.or === undefined ? expected : `${expected}, or ${spec.or}`);
}

/** Protects against a mistyped range, which could ask for millions of runs. */
const maxSeeds = 1000;

/** @returns the seeds in the given order, or an error message without the flag. */
export function parseSeeds(text: string): readonly number[] | string {
  const seeds: number[] = [];
  for (const part of text.split(',')) {
    const [, first, last = first] = /^\s*(\d{1,9})\s*(?:\.\.\s*(\d{1,9})\s*)?$/.exec(part) ?? [];
    if (first === undefined || Number(last) < Number(first)) {
      return `expected seeds such as 1..5 or 1,3,7, found '${text}'`;
    }
    if (Number(last) - Number(first) + seeds.length >= maxSeeds)
      return `expected at most ${maxSeeds} seeds, found '${text}'`;
    for (let seed = Number(first); seed <= Number(last); seed++) seeds.push(seed);
  }
  return new Set(seeds).size < seeds.length ? `expected different seeds, found '${text}'` : seeds;
}
