/**
 * @file Validates untrusted JSON. Readers describe their files with the schemas below, which wrap valibot's with our
 * messages. An invalid file gives a UserError that names the file, the field, what was expected and what was found.
 */
import * as v from 'valibot';
import { UserError } from './errors.js';
import { isRecord, type JsonRecord, quote } from './json.js';

export { optional, union } from 'valibot';

/** The file that is checked, for errors. */
export interface JsonSource {
  readonly path: string;
  /** What the file should be, with an article: `a V* file`. */
  readonly what?: string;
  /** Advice for an invalid file, as a full sentence. */
  readonly fix?: string;
}

// The message of a schema is what it expects, as a noun phrase; problemOf() makes the sentence.
export const text = v.string('a string');
export const flag = v.boolean('true or false');
/** Any value, even undefined. */
export const anything = v.unknown();
/** An object with unknown content. */
export const anyObject = v.custom<JsonRecord>(isRecord, 'an object');

/** Bounds of a number: `min` and `max` are included, `above` is not. */
export interface Bounds {
  readonly min?: number;
  readonly max?: number;
  readonly above?: number;
}

/** A finite number. */
export function number(bounds: Bounds = {}) {
  return v.custom<number>(
    (value) => typeof value === 'number' && Number.isFinite(value) && within(value, bounds),
    `a number${spell(bounds)}`,
  );
}

/** An integer that float64 represents exactly. */
export function integer(bounds: Bounds = {}) {
  return v.custom<number>(
    (value) => typeof value === 'number' && Number.isSafeInteger(value) && within(value, bounds),
    `an integer${spell(bounds)}`,
  );
}

/** From 0 to 1. */
export const share = number({ min: 0, max: 1 });

/** One of these strings. */
export function oneOf<const Options extends readonly string[]>(options: Options) {
  return v.picklist(options, options.map((option) => JSON.stringify(option)).join(' or '));
}

export function list<Item extends v.GenericSchema>(item: Item) {
  return v.array(item, 'a list');
}

/** A list of two. */
export function pair<Item extends v.GenericSchema>(item: Item) {
  return v.strictTuple([item, item], 'a list of two');
}

/** An object whose keys are data, as a Map, in which `__proto__` is an ordinary key. */
export function mapOf<Value extends v.GenericSchema>(value: Value) {
  const entries = v.transform((record: JsonRecord) => new Map(Object.entries(record)));
  return v.pipe(anyObject, entries, v.map(v.string(), value));
}

/**
 * An object with these fields; others are ignored. Inherited names count as absent. So does a field that is `null`, as Python
 * writes it, unless its schema accepts `null`.
 */
export function object<const Entries extends v.ObjectEntries>(entries: Entries) {
  const own = v.transform((record: JsonRecord): JsonRecord => {
    const value = (name: string) => (Object.hasOwn(record, name) ? record[name] : undefined);
    const acceptsNull = (name: string) => entries[name]!.type === 'nullable';
    return Object.fromEntries(
      Object.keys(entries).map((name) => [name, acceptsNull(name) ? value(name) : (value(name) ?? undefined)]),
    );
  });
  return v.pipe(anyObject, own, v.object(entries));
}

/** `schema`, or null. */
export function orNull<Schema extends v.GenericSchema>(schema: Schema) {
  return v.nullable(schema);
}

/**
 * Validates `value` and returns it with its type.
 *
 * @throws UserError naming the first invalid field. Only the first, since a list may have millions.
 */
export function check<Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
  source: JsonSource,
  at = '',
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  throw wrong(source, [problemOf(result.issues[0], at)]);
}

/** As {@link check} for small records: adds every problem to `problems`, and then returns undefined. */
export function collect<Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
  problems: string[],
  at = '',
): v.InferOutput<Schema> | undefined {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  problems.push(...result.issues.map((issue) => problemOf(issue, at)));
  return undefined;
}

/** The error for a file with `problems`, clauses such as `` `step` must be an integer, not "x" ``. */
export function wrong({ path, what, fix }: JsonSource, problems: readonly string[]): UserError {
  const verdict = what === undefined ? 'cannot be used' : `is not ${what}`;
  return new UserError({ problem: `${path} ${verdict}: ${problems.join('; ')}.`, fix });
}

/** `at` must be `expected`, not `found`. */
export function mustBe(at: string, expected: string, found: unknown): string {
  return `${at === '' ? 'its content' : `\`${at}\``} must be ${expected}, not ${quote(found)}`;
}

function problemOf(issue: v.BaseIssue<unknown>, at: string): string {
  return mustBe((issue.path ?? []).reduce(placed, at), issue.message, issue.input);
}

function placed(at: string, { type, key }: v.IssuePathItem): string {
  if (type === 'array') return `${at}[${key}]`;
  if (type === 'map') return `${at}[${quote(key)}]`;
  return at === '' ? String(key) : `${at}.${key}`;
}

function within(value: number, { min = -Infinity, max = Infinity, above = -Infinity }: Bounds): boolean {
  return value >= min && value <= max && (above === -Infinity || value > above);
}

function spell({ min, max, above }: Bounds): string {
  if (above !== undefined) return ` above ${above}`;
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  return min !== undefined ? ` of at least ${min}` : max !== undefined ? ` of at most ${max}` : '';
}
