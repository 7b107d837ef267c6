/**
 * @file Parses untrusted JSON with limits on size and depth, and describes values for error messages. schema.ts checks the
 * fields.
 */
import { clip, UserError } from './errors.js';
import { readRegularFile } from './file.js';

/** A JSON object of unknown content. */
export type JsonRecord = Readonly<Record<string, unknown>>;

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads a JSON file that must contain an object. `fix` is the advice for an invalid file.
 *
 * @throws UserError when the file is missing, unreadable, too large, not UTF-8, not JSON or not an object.
 */
export function readJsonRecord(path: string, fix?: string, maxBytes?: number): JsonRecord {
  return parseJsonRecord(readRegularFile(path, maxBytes), path, fix);
}

/** Parses `bytes` as a UTF-8 JSON object; `source` names it in errors. */
export function parseJsonRecord(bytes: Uint8Array, source: string, fix?: string): JsonRecord {
  let value: unknown;
  try {
    value = parseJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UserError({
      problem: `${source} is not valid JSON: ${reason}.`,
      fix: fix ?? 'Check that it is complete.',
    });
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

/** A short description of any value for error messages: JSON if possible, cut to `limit` characters. */
export function describe(value: unknown, limit = 80): string {
  if (value === undefined) return 'nothing';
  // A huge string is cut before it is escaped.
  if (typeof value === 'string' && value.length > limit) return clip(JSON.stringify(value.slice(0, limit)), limit);
  try {
    return clip(JSON.stringify(value) ?? String(value), limit);
  } catch {
    // Circular, nested deeper than the stack, or a bigint; String() of a deep array would overflow the stack again.
    return typeof value === 'object' ? Object.prototype.toString.call(value) : String(value);
  }
}

/** As {@link describe}, but long enough for a problem or a completion. */
export function quote(value: unknown): string {
  return describe(value, 200);
}

/** Valid files have about ten levels of nesting. */
const maxDepth = 100;

/**
 * JSON.parse for untrusted text.
 *
 * @throws SyntaxError, also for values nested more than 100 levels deep.
 */
export function parseJson(text: string): unknown {
  if (isDeep(text)) throw new SyntaxError(`it is nested more than ${maxDepth} levels deep`);
  return JSON.parse(text);
}

/**
 * Whether brackets outside strings nest deeper than {@link maxDepth}. Checked first, because JSON.parse needs half a minute
 * and gigabytes of memory for 100 MB of `[`.
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
