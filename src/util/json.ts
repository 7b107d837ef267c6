/**
 * @file JSON that comes from outside: files and records are checked before they are trusted, and what is wrong is
 * told by the name of the file and the field.
 */
import { readFileSync, statSync } from 'node:fs';
import { systemErrorCode, UserError } from '../errors.js';

/** A JSON object of unknown content. */
export type JsonRecord = Readonly<Record<string, unknown>>;

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Far above any configuration or tokenizer (Llama 3's is 17 MB), far below what V8 can hold in one string. */
const maxJsonBytes = 256 * 1024 * 1024;

/**
 * Reads a JSON file that must hold one object.
 *
 * @throws UserError when the file is missing, unreadable, too large, not UTF-8, not JSON or not an object.
 */
export function readJsonRecord(path: string): JsonRecord {
  let bytes: Uint8Array;
  try {
    const { size } = statSync(path);
    if (size > maxJsonBytes) {
      throw new UserError({
        problem: `${path} is too large.`,
        expected: `at most ${maxJsonBytes} bytes`,
        found: `${size}`,
      });
    }
    bytes = readFileSync(path);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw unreadable(path, error);
  }
  return parseJsonRecord(bytes, path);
}

/** Parses `bytes` as a UTF-8 JSON object; `source` names it in errors. */
export function parseJsonRecord(bytes: Uint8Array, source: string): JsonRecord {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UserError({ problem: `${source} is not valid JSON: ${reason}.`, fix: 'Is the file complete?' });
  }
  if (!isRecord(value)) {
    throw new UserError({
      problem: `${source} has the wrong form.`,
      expected: 'a JSON object',
      found: describe(value),
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

/** A short form of any JSON value for error messages. */
export function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
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
