/**
 * @file JSON from outside: files that may be truncated, huge, of the wrong shape or made to do harm. Everything wrong is a
 * UserError that names the file and the place; nothing inherited is ever read (`__proto__`, `constructor`).
 */
import { closeSync, fstatSync, readFileSync } from 'node:fs';
import { systemErrorCode, UserError } from '../errors.js';
import { openRegularFile } from './file.js';

/** Longest piece of a foreign value that an error message quotes. */
const quoteLength = 200;

/** `value` as it may stand in an error message: JSON where possible, cut to a readable length. */
export function quote(value: unknown): string {
  let text: string;
  if (typeof value === 'string' && value.length > quoteLength) {
    return `${JSON.stringify(value.slice(0, quoteLength))}… (${value.length} characters)`;
  }
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    // Circular, deeper than the stack, or a bigint; String() of a deep array would overflow the stack again.
    text = typeof value === 'object' ? Object.prototype.toString.call(value) : String(value);
  }
  return text.length > quoteLength ? `${text.slice(0, quoteLength)}… (${text.length} characters)` : text;
}

/** Our own files nest less than ten levels. */
const maxDepth = 100;

/**
 * Whether brackets outside strings nest deeper than {@link maxDepth}. Looked at first because JSON.parse survives 100 MB
 * of `[` only with half a minute of work and gigabytes of memory.
 */
function isDeep(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: // a string: on to its closing quote, which is the first with an even number of backslashes before it
        do {
          i = text.indexOf('"', i + 1);
          if (i === -1) return false;
        } while (isEscaped(text, i));
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > maxDepth) return true;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
        break;
    }
  }
  return false;
}

function isEscaped(text: string, at: number): boolean {
  let backslashes = 0;
  while (text.charCodeAt(at - 1 - backslashes) === 0x5c) backslashes++;
  return backslashes % 2 === 1;
}

export interface JsonFile {
  readonly path: string;
  /** What the file should be, with its article: `a V* file`. */
  readonly what: string;
  /** What to do about a bad one, a whole sentence. */
  readonly fix?: string;
}

const fixOf = ({ fix }: JsonFile) => (fix === undefined ? {} : { fix });

/**
 * The text of a file of at most `maxBytes` bytes.
 *
 * @throws UserError when it is missing, unreadable, no regular file (a pipe would block for ever) or larger.
 */
export function readText(file: JsonFile, maxBytes: number): string {
  const { path, what } = file;
  let fd: number | undefined;
  try {
    fd = openRegularFile(path);
  } catch (cause) {
    const missing = systemErrorCode(cause) === 'ENOENT';
    throw new UserError(
      {
        problem: missing ? `${path} does not exist.` : `${path} cannot be read (${systemErrorCode(cause) ?? cause}).`,
        expected: what,
        ...fixOf(file),
      },
      { cause },
    );
  }
  if (fd === undefined) throw new UserError({ problem: `${path} is not a file.`, expected: what, ...fixOf(file) });
  try {
    const { size } = fstatSync(fd);
    if (size > maxBytes) {
      throw new UserError({
        problem: `${path} is too large to be ${what}.`,
        expected: `at most ${maxBytes} bytes`,
        found: `${size} bytes`,
        ...fixOf(file),
      });
    }
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

/**
 * As JSON.parse, for text from outside.
 *
 * @throws SyntaxError also for values nested more than 100 levels deep.
 */
export function parseJson(text: string): unknown {
  if (isDeep(text)) throw new SyntaxError(`it is nested more than ${maxDepth} levels deep`);
  return JSON.parse(text);
}

/** The value of a JSON file; see {@link readText} for what is thrown beside a UserError for broken JSON. */
export function readJson(file: JsonFile, maxBytes: number): unknown {
  const text = readText(file, maxBytes);
  try {
    return parseJson(text);
  } catch (cause) {
    throw new UserError(
      {
        problem: `${file.path} is not valid JSON: ${cause instanceof Error ? cause.message : cause}.`,
        expected: file.what,
        ...fixOf(file),
      },
      { cause },
    );
  }
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
      ...fixOf(file),
    });
  const between = ({ min, max }: Bounds) =>
    [min === undefined ? '' : ` from ${min}`, max === undefined ? '' : ` up to ${max}`].join('');
  const within = (value: number, { min = -Infinity, max = Infinity }: Bounds) => value >= min && value <= max;
  return {
    refuse,
    object: (value, where) => {
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return new Map(Object.entries(value));
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
