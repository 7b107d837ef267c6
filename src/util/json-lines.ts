/**
 * @file Input of commands: text, or JSON lines with one object each, from a file, a pipe or standard input (`-`).
 */
import { closeSync, constants, createReadStream, openSync, statSync } from 'node:fs';
import { systemErrorCode, UserError } from './errors.js';
import { readRegularFile, unreadable } from './file.js';
import { isRecord, type JsonRecord, parseJson } from './json.js';

export interface JsonLine {
  /** For errors: `line 3 of prompts.jsonl`. */
  readonly where: string;
  readonly record: JsonRecord;
}

/** The whole text of `source`. @throws UserError when it cannot be read or is not UTF-8. */
export async function readText(source: string, signal: AbortSignal): Promise<string> {
  if (source !== '-' && !isStream(source)) return decodeText(source, readRegularFile(source));
  try {
    return decodeText(source, await readStream(source, signal));
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof UserError ? error : unreadable(nameOf(source), error);
  }
}

/** Something that a shell's `<(command)` or a terminal stands behind, which regular files' rules would refuse. */
function isStream(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && (stat.isFIFO() || stat.isSocket() || stat.isCharacterDevice());
}

/** Above every list of prompts; an endless source stops here. */
const maxStreamBytes = 256 * 2 ** 20;

async function readStream(source: string, signal: AbortSignal): Promise<Uint8Array> {
  const stat = source === '-' ? undefined : statSync(source, { throwIfNoEntry: false });
  const stream = source === '-' ? process.stdin : createReadStream(source);
  // A source that waits for a writer knows no signal: Ctrl-C closes it.
  const stop = () => {
    // Opening a named pipe waits for a writer, in a thread that nothing else can stop: this is one.
    if (stat?.isFIFO()) closeSync(openSync(source, constants.O_RDWR | constants.O_NONBLOCK));
    stream.destroy(signal.reason);
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    const parts: Uint8Array[] = [];
    let total = 0;
    for await (const part of stream as AsyncIterable<Uint8Array>) {
      parts.push(part);
      total += part.length;
      if (total > maxStreamBytes) throw new UserError(`${nameOf(source)} holds more than ${maxStreamBytes} bytes.`);
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

/** As {@link parseJsonLines}, of all that `source` has. */
export async function readJsonLines(source: string, example: string, signal: AbortSignal): Promise<JsonLine[]> {
  return parseJsonLines(source, await readText(source, signal), example);
}

/**
 * The objects in `text`, one a line; empty lines are passed over.
 *
 * @param source where the text is from, and `example` a good line, for errors.
 * @throws UserError that names the first line which is not a JSON object, or says that there is none.
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
        fix: `A line looks like ${example}`,
      });
    }
    if (!isRecord(value)) {
      throw new UserError({
        problem: `${capitalized(where)} is not a JSON object.`,
        fix: `A line looks like ${example}`,
      });
    }
    lines.push({ where, record: value });
  });
  if (lines.length === 0) {
    throw new UserError({
      problem: `${capitalized(nameOf(source))} holds no lines.`,
      fix: `A line looks like ${example}`,
    });
  }
  return lines;
}

function nameOf(source: string): string {
  return source === '-' ? 'standard input' : source;
}

/** A sentence's first letter; file names stay as they are. */
function capitalized(text: string): string {
  return text.replace(/^(line \d|standard)/, (start) => start.charAt(0).toUpperCase() + start.slice(1));
}
