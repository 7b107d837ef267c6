/**
 * @file JSON that comes from outside: files and records are checked before they are trusted, and what is wrong is
 * told by the name of the file and the field.
 */
import { closeSync, fstatSync, readFileSync } from 'node:fs';
import { systemErrorCode, UserError } from './errors.js';
import { openRegularFile } from './file.js';

/** A JSON object of unknown content. */
export type JsonRecord = Readonly<Record<string, unknown>>;

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Far above any configuration or tokenizer (Llama 3's is 17 MB), far below what V8 can hold in one string. */
const maxJsonBytes = 256 * 1024 * 1024;

/**
 * Reads a JSON file that must hold one object. `fix` says what to do about one that does not.
 *
 * @throws UserError when the file is missing, unreadable, too large, not UTF-8, not JSON or not an object.
 */
export function readJsonRecord(path: string, fix?: string): JsonRecord {
  let fd: number | undefined;
  let bytes: Uint8Array;
  try {
    fd = openRegularFile(path);
    if (fd === undefined) throw new UserError(`Cannot read ${path}: it is not a file.`);
    const { size } = fstatSync(fd);
    if (size > maxJsonBytes) {
      throw new UserError({
        problem: `${path} is too large.`,
        expected: `at most ${maxJsonBytes} bytes`,
        found: `${size}`,
        fix,
      });
    }
    bytes = readFileSync(fd);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw unreadable(path, error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
  return parseJsonRecord(bytes, path, fix);
}

/** Parses `bytes` as a UTF-8 JSON object; `source` names it in errors. */
export function parseJsonRecord(bytes: Uint8Array, source: string, fix?: string): JsonRecord {
  let value: unknown;
  try {
    value = parseJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UserError({ problem: `${source} is not valid JSON: ${reason}.`, fix: fix ?? 'Is the file complete?' });
  }
  if (!isRecord(value)) {
    throw new UserError({
      problem: `${source} has the wrong form.`,
      expected: 'a JSON object',
      found: describe(value),
      fix,
    });
  }
  return value;
}

/** The error for a file that cannot be opened or read, with the system's reason in words. */
export function unreadable(path: string, error: unknown): UserError {
  const code = systemErrorCode(error);
  const reason =
    code === 'ENOENT'
      ? 'there is no such file'
      : code === 'EACCES' || code === 'EPERM'
        ? 'permission is denied'
        : code === 'EISDIR'
          ? 'it is a folder'
          : error instanceof Error
            ? error.message
            : String(error);
  return new UserError(`Cannot read ${path}: ${reason}.`, { cause: error });
}

/** A short form of any value for error messages: JSON where possible, cut to `limit` characters. */
export function describe(value: unknown, limit = 80): string {
  if (value === undefined) return 'nothing';
  const cut = (text: string) => (text.length <= limit ? text : `${text.slice(0, limit - 3)}...`);
  // A huge string is cut before it is escaped.
  if (typeof value === 'string' && value.length > limit) return cut(JSON.stringify(value.slice(0, limit)));
  try {
    return cut(JSON.stringify(value) ?? String(value));
  } catch {
    // Circular, nested deeper than the stack, or a bigint; String() of a deep array would overflow the stack again.
    return typeof value === 'object' ? Object.prototype.toString.call(value) : String(value);
  }
}

/** As {@link describe}, long enough to show a problem or a completion. */
export function quote(value: unknown): string {
  return describe(value, 200);
}

/** Our own files and those of Hugging Face nest some ten levels. */
const maxDepth = 100;

/**
 * As JSON.parse, for text from outside.
 *
 * @throws SyntaxError also for values nested more than 100 levels deep.
 */
export function parseJson(text: string): unknown {
  if (isDeep(text)) throw new SyntaxError(`it is nested more than ${maxDepth} levels deep`);
  return JSON.parse(text);
}

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

/**
 * Reads the fields of one record and collects everything that is wrong, so that a user sees all of it at once.
 * A getter whose field is bad notes the problem and returns the fallback (or a harmless value), so that reading goes on;
 * {@link JsonFields.finish} then throws. `null` counts as absent, as in the files that Python writes.
 */
export class JsonFields {
  constructor(
    readonly record: JsonRecord,
    readonly source: string,
    private readonly path = '',
    private readonly problems: string[] = [],
  ) {}

  /** The fields of an object inside this record; their problems are noted here. */
  inside(name: string, record: JsonRecord): JsonFields {
    return new JsonFields(record, this.source, `${this.path}${name}.`, this.problems);
  }

  /** Notes that something about `record` is wrong. One sentence. */
  refuse(problem: string): void {
    this.problems.push(problem);
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  /** The raw value; undefined when absent or null. Inherited names (`__proto__`, `constructor`) are absent. */
  get(name: string): unknown {
    return Object.hasOwn(this.record, name) ? (this.record[name] ?? undefined) : undefined;
  }

  /** An integer from `min` to 2^31 - 1. Without a fallback the field is required. */
  integer(name: string, { min = 1, fallback }: { min?: number; fallback?: number } = {}): number {
    const test = (value: unknown) => Number.isInteger(value) && (value as number) >= min && (value as number) < 2 ** 31;
    return this.field(name, `an integer of at least ${min}`, test, fallback, min);
  }

  /** A finite number greater than `above`. */
  number(name: string, { above, fallback }: { above: number; fallback?: number }): number {
    const test = (value: unknown) => typeof value === 'number' && Number.isFinite(value) && value > above;
    return this.field(name, `a number above ${above}`, test, fallback, above + 1);
  }

  boolean(name: string, fallback: boolean): boolean {
    return this.field(name, 'true or false', (value) => typeof value === 'boolean', fallback, fallback);
  }

  string(name: string, fallback?: string): string {
    return this.field(name, 'a string', (value) => typeof value === 'string', fallback, '');
  }

  /** Throws one UserError that names every problem noted so far. */
  finish(fix?: string): void {
    if (this.problems.length === 0) return;
    throw new UserError({ problem: `${this.source} cannot be used: ${this.problems.join('; ')}.`, fix });
  }

  private field<T>(
    name: string,
    expected: string,
    test: (value: unknown) => boolean,
    fallback: T | undefined,
    harmless: T,
  ): T {
    const value = this.get(name);
    if (value === undefined && fallback !== undefined) return fallback;
    if (test(value)) return value as T;
    this.refuse(`\`${this.path}${name}\` must be ${expected}, not ${describe(value)}`);
    return fallback ?? harmless;
  }
}
