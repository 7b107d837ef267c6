/**
 * @file Files of options for `--config`, in TOML or JSON: reads them, and writes the one with which a run can be repeated. Keys are
 * flags without dashes (`batch-size`) or the names in a run's record (`batchSize`).
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { closestMatch } from 'leven';
import { parse, stringify } from 'smol-toml';
import { exitCodes, UserError } from '../util/errors.js';
import { readRegularFile } from '../util/file.js';
import { describe, isRecord, type JsonRecord, parseJsonRecord } from '../util/json.js';
import type { OptionSpec } from './spec.js';
import { type Flags, keyOf, type OptionName, options } from './table.js';

/** The file in a run folder that repeats the run. */
export const repeatFile = 'options.toml';

/** The options of a file as text, which the option table checks, and their names in errors. */
export interface ConfigFlags {
  readonly flags: Flags;
  readonly source: (name: OptionName) => string;
}

/** Larger files are refused: a file of options has a few dozen lines. */
const maxBytes = 1 << 20;

/**
 * Reads the options at `path`: a file or the folder of a run.
 *
 * @param names options of the command. @param command its words, for errors.
 * @throws UserError (wrong usage) that lists every key that is not an option, and every value that cannot be one.
 */
export function readConfig(path: string, names: readonly OptionName[], command: string): ConfigFlags {
  const file = statSync(path, { throwIfNoEntry: false })?.isDirectory() ? join(path, repeatFile) : path;
  const problems: string[] = [];
  const flags: Partial<Record<OptionName, string | boolean | readonly string[]>> = {};
  const byKey = new Map(names.flatMap((name) => [keyOf(name), name].map((key) => [key, name] as const)));
  for (const [key, value] of Object.entries(readTable(file))) {
    const name = byKey.get(key);
    if (name === undefined) {
      problems.push(`${file}: ${key}: not an option of ${command}${optionMeant(key, names)}`);
      continue;
    }
    const text = flagOf(options[name], value);
    if (text === undefined) {
      const hint = Array.isArray(value) ? '; `tinyzero sweep` takes lists' : '';
      problems.push(`${file}: ${key}: expected ${expected(options[name])}, found ${describe(value)}${hint}`);
    } else flags[name] = text;
  }
  if (problems.length > 0) throw new UserError(problems.join('\n'), { exitCode: exitCodes.usage });
  return { flags, source: (name) => `${file}: ${keyOf(name)}` };
}

/** `; did you mean lr?` for a key that is none of the options; empty if none is close. */
export function optionMeant(key: string, names: readonly OptionName[]): string {
  const meant = closestMatch(key, names.map(keyOf), { maxDistance: Math.max(2, Math.floor(key.length / 3)) });
  return meant === undefined ? '' : `; did you mean ${meant}?`;
}

/** The table that a TOML or JSON file holds. @throws UserError when it cannot be read or parsed, or is a run's record. */
export function readTable(path: string): JsonRecord {
  const bytes = readRegularFile(path, maxBytes);
  const table = path.endsWith('.json') ? parseJsonRecord(bytes, path) : parseToml(bytes.toString('utf8'), path);
  if (typeof table.format === 'string' && table.format.startsWith('tinyzero-')) {
    throw new UserError({
      problem: `${path} is the record of a run, not a file of options.`,
      fix: `Give the folder of the run, or the ${repeatFile} in it.`,
    });
  }
  return table;
}

function parseToml(text: string, path: string): JsonRecord {
  try {
    return parse(text, { unsafeKeyBehaviour: 'throw', maxDepth: 20 });
  } catch (error) {
    const reason = error instanceof Error ? error.message.trim() : String(error);
    throw new UserError({ problem: `${path} is not valid TOML: ${reason}` });
  }
}

/** A value of a file as command-line text; undefined if it has the wrong type. */
export function flagOf(spec: OptionSpec, value: unknown): string | boolean | readonly string[] | undefined {
  if (spec.type === 'boolean') return typeof value === 'boolean' ? value !== spec.default : undefined;
  if (spec.type === 'list')
    return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined;
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

function expected({ type }: OptionSpec): string {
  if (type === 'boolean') return 'true or false';
  if (type === 'list') return 'a list of strings';
  return type === 'integer' || type === 'number' ? 'a number' : 'a string';
}

/**
 * The TOML file that repeats a run.
 *
 * @param names of the options of the run. @param values its options as resolved; undefined ones are left out.
 */
export function configText(
  command: 'train' | 'sft',
  names: readonly OptionName[],
  values: Readonly<Partial<Record<OptionName, unknown>>>,
): string {
  const known = names.flatMap((name) => (isGiven(values[name]) ? [[keyOf(name), values[name]] as const] : []));
  return (
    `# The options of this run, as resolved. \`tinyzero ${command} --config options.toml\` repeats it;\n` +
    '# flags win over this file, and paths are relative to where the command runs.\n' +
    `${stringify(Object.fromEntries(known))}\n`
  );
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false && !isRecord(value);
}
