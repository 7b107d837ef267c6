/**
 * @file Checks for JSON with many like entries, such as the rewards of thousands of samples: the first that is wrong stops,
 * with its place. (JsonFields in json.ts is for the one record of a configuration, and tells all that is wrong.)
 */
import { UserError } from './errors.js';
import { isRecord, quote } from './json.js';

export interface JsonFile {
  readonly path: string;
  /** What the file should be, with its article: `a V* file`. */
  readonly what: string;
  /** What to do about a bad one, a whole sentence. */
  readonly fix?: string;
}

/** Bounds of a number, both included. */
export interface Bounds {
  readonly min?: number;
  readonly max?: number;
}

/** Checks of values inside a file; each returns its argument with its type, or throws a UserError that says where. */
export interface JsonChecks {
  /** Entries as a Map: own keys only, and a key named `__proto__` is a key like any other. */
  object(value: unknown, where: string): ReadonlyMap<string, unknown>;
  array(value: unknown, where: string): readonly unknown[];
  string(value: unknown, where: string): string;
  boolean(value: unknown, where: string): boolean;
  /** Finite. */
  number(value: unknown, where: string, bounds?: Bounds): number;
  integer(value: unknown, where: string, bounds?: Bounds): number;
  /** The error itself, for checks of one's own. */
  refuse(where: string, expected: string, found: unknown): UserError;
}

export function jsonChecks(file: JsonFile): JsonChecks {
  const refuse = (where: string, expected: string, found: unknown) =>
    new UserError({
      problem: `${file.path} is not ${file.what}: ${where} is wrong.`,
      expected,
      found: quote(found),
      fix: file.fix,
    });
  const between = ({ min, max }: Bounds) =>
    [min === undefined ? '' : ` from ${min}`, max === undefined ? '' : ` up to ${max}`].join('');
  const within = (value: number, { min = -Infinity, max = Infinity }: Bounds) => value >= min && value <= max;
  return {
    refuse,
    object: (value, where) => {
      if (isRecord(value)) return new Map(Object.entries(value));
      throw refuse(where, 'an object', value);
    },
    array: (value, where) => {
      if (Array.isArray(value)) return value;
      throw refuse(where, 'an array', value);
    },
    string: (value, where) => {
      if (typeof value === 'string') return value;
      throw refuse(where, 'a text', value);
    },
    boolean: (value, where) => {
      if (typeof value === 'boolean') return value;
      throw refuse(where, 'true or false', value);
    },
    number: (value, where, bounds = {}) => {
      if (typeof value === 'number' && Number.isFinite(value) && within(value, bounds)) return value;
      throw refuse(where, `a number${between(bounds)}`, value);
    },
    integer: (value, where, bounds = {}) => {
      if (typeof value === 'number' && Number.isSafeInteger(value) && within(value, bounds)) return value;
      throw refuse(where, `a whole number${between(bounds)}`, value);
    },
  };
}
