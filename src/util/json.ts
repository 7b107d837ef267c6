/**
 * @file Parses untrusted JSON, and JSON Lines from a file, a pipe or standard input (`-`), with limits on size and depth;
 * describes values for error messages. schema.ts checks the fields.
 */

import { closeSync, constants, createReadStream, openSync, statSync } from 'node:fs';
import { clip, systemErrorCode, UserError } from './errors.js';
import { readRegularFile, unreadable } from './file.js';

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

export interface JsonLine {
  /** For errors: `line 3 of prompts.jsonl`. */
  readonly where: string;
  readonly record: JsonRecord;
}

/** Reads the whole text of `source`. @throws UserError when it cannot be read or is not UTF-8. */
export async function readText(source: string, signal: AbortSignal): Promise<string> {
  if (source !== '-' && !isStream(source)) return decodeText(source, readRegularFile(source));
  try {
    return decodeText(source, await readStream(source, signal));
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof UserError ? error : unreadable(nameOf(source), error);
  }
}

/** Whether `path` is a pipe or a device, such as a shell's `<(command)` or a terminal. */
function isStream(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && (stat.isFIFO() || stat.isSocket() || stat.isCharacterDevice());
}

/** More than any list of prompts; stops endless sources. */
const maxStreamBytes = 256 * 2 ** 20;

async function readStream(source: string, signal: AbortSignal): Promise<Uint8Array> {
  const stat = source === '-' ? undefined : statSync(source, { throwIfNoEntry: false });
  const stream = source === '-' ? process.stdin : createReadStream(source);
  const chunks: AsyncIterable<Uint8Array> = stream;
  // A read that waits for a writer ignores the signal, so Ctrl-C closes the source.
  const stop = () => {
    // Opening a named pipe blocks a thread until there is a writer: become one.
    if (stat?.isFIFO()) closeSync(openSync(source, constants.O_RDWR | constants.O_NONBLOCK));
    stream.destroy(signal.reason);
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    const parts: Uint8Array[] = [];
    let total = 0;
    for await (const part of chunks) {
      parts.push(part);
      total += part.length;
      if (total > maxStreamBytes) throw new UserError(`${nameOf(source)} has more than ${maxStreamBytes} bytes.`);
    }
    return Buffer.concat(parts);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** @throws UserError that names `source` when the bytes are not UTF-8. */
export function decodeText(source: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    const reason = systemErrorCode(error) === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'not UTF-8 text' : 'too large';
    throw new UserError(`${nameOf(source)} is ${reason}.`, { cause: error });
  }
}

/** Reads `source` and parses it as {@link parseJsonLines} does. */
export async function readJsonLines(source: string, example: string, signal: AbortSignal): Promise<JsonLine[]> {
  return parseJsonLines(source, await readText(source, signal), example);
}

/**
 * Parses `text` as one JSON object per line. Empty lines are skipped.
 *
 * @param source name of the source, for errors. @param example a valid line, for errors.
 * @throws UserError naming the first line that is not a JSON object, or when there are no lines.
 */
export function parseJsonLines(source: string, text: string, example: string): JsonLine[] {
  const lines: JsonLine[] = [];
  text.split('\n').forEach((line, index) => {
    if (line.trim() === '') return;
    const where = `line ${index + 1} of ${nameOf(source)}`;
    let value: unknown;
    try {
      value = parseJson(line);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new UserError({
        problem: `${capitalized(where)} is not JSON: ${reason}.`,
        fix: `Example of a line: ${example}`,
      });
    }
    if (!isRecord(value)) {
      throw new UserError({
        problem: `${capitalized(where)} is not a JSON object.`,
        fix: `Example of a line: ${example}`,
      });
    }
    lines.push({ where, record: value });
  });
  if (lines.length === 0) {
    throw new UserError({
      problem: `${capitalized(nameOf(source))} is empty.`,
      fix: `Example of a line: ${example}`,
    });
  }
  return lines;
}

function nameOf(source: string): string {
  return source === '-' ? 'standard input' : source;
}

/** Capitalises the first word of a sentence, except a file name. */
function capitalized(text: string): string {
  return text.replace(/^(line \d|standard)/, (start) => start.charAt(0).toUpperCase() + start.slice(1));
}
