/**
 * @file Logs of a run: one JSON object a line, only ever appended to. A process killed at any moment leaves at most one torn
 * line at the end; resuming cuts the file back to where its checkpoint was made, so the bytes come out as if nothing had
 * happened.
 */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync } from 'node:fs';
import { systemErrorCode, UserError } from '../util/errors.js';
import { openRegularFile, writeAll } from '../util/file.js';
import { parseJson, quote } from '../util/json.js';
import { explainWrites } from '../util/write.js';

export interface LogWriter {
  /**
   * Appends one line.
   *
   * @throws RangeError naming a number that is not finite, which JSON would silently turn into null.
   * @throws UserError when the disk refuses; the file then ends with the line before.
   */
  append(record: Readonly<Record<string, unknown>>): void;
  /** Forces all lines to the disk; to be called before a checkpoint that counts on them is completed. */
  sync(): void;
  /** Bytes so far: what a checkpoint stores, and {@link openLog} takes back. */
  size(): number;
  close(): void;
}

/**
 * Opens a log for appending. With `size`, the size at a checkpoint, it is cut back to exactly there; without, only a torn
 * last line is cut off.
 *
 * @throws UserError when the file is shorter than `size` or has no line end there: it is not the checkpoint's log.
 */
export function openLog(path: string, size?: number): LogWriter {
  const fd = explainWrites(path, () => openSync(path, 'a+'));
  try {
    const present = fstatSync(fd).size;
    if (size !== undefined && (size > present || !endsLine(fd, size))) {
      throw new UserError({
        problem: `${path} does not fit the checkpoint that is to be resumed.`,
        expected: `a line to end at byte ${size}`,
        found: size > present ? `only ${present} bytes` : 'the middle of a line there',
        fix: 'The file was changed after the run stopped; start a new run.',
      });
    }
    const end = size ?? lastLineEnd(fd, present);
    if (end < present) explainWrites(path, () => ftruncateSync(fd, end));
    return writer(fd, path, end);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function writer(fd: number, path: string, start: number): LogWriter {
  let size = start;
  return {
    append: (record) => {
      const line = Buffer.from(`${JSON.stringify(record, finite)}\n`);
      explainWrites(path, () => {
        try {
          writeAll(fd, line);
        } catch (error) {
          ftruncateSync(fd, size); // part of the line may have got in
          throw error;
        }
      });
      size += line.length;
    },
    sync: () => explainWrites(path, () => fsyncSync(fd)),
    size: () => size,
    close: () => closeSync(fd),
  };
}

function finite(this: unknown, key: string, value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new RangeError(`log field "${key}" is ${value}`);
  return value;
}

const newline = 0x0a;

/** Whether byte `size` - 1 ends a line, or nothing precedes it. */
function endsLine(fd: number, size: number): boolean {
  const last = Buffer.alloc(1);
  return size === 0 || (readSync(fd, last, 0, 1, size - 1) === 1 && last[0] === newline);
}

/** Bytes up to and including the last line end among the first `size`. */
function lastLineEnd(fd: number, size: number): number {
  const block = Buffer.alloc(1 << 16);
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - block.length);
    const at = block.subarray(0, readSync(fd, block, 0, end - start, start)).lastIndexOf(newline);
    if (at !== -1) return start + at + 1;
    end = start;
  }
  return 0;
}

/** Longest line that a reader accepts: a line of rollouts with long completions has some 100 kB. */
const maxLineBytes = 16 * 2 ** 20;

/**
 * The objects of a log, one after the other, whatever the size of the file. A torn last line (the run was killed, or is
 * writing it now) is left out; a missing file is an empty log.
 *
 * @throws UserError naming the line that is not a JSON object or is too long.
 */
export function* readLog(path: string): Generator<Readonly<Record<string, unknown>>> {
  let fd: number;
  try {
    fd = openRegularFile(path);
  } catch (error) {
    if (error instanceof UserError && systemErrorCode(error.cause) === 'ENOENT') return;
    throw error;
  }
  try {
    const block = Buffer.alloc(1 << 20);
    let rest = Buffer.alloc(0);
    let number = 0;
    for (;;) {
      const read = readSync(fd, block, 0, block.length, null);
      if (read === 0) return;
      let text = Buffer.concat([rest, block.subarray(0, read)]);
      for (let end = text.indexOf(newline); end !== -1; end = text.indexOf(newline)) {
        number++;
        yield parseLine(text.toString('utf8', 0, end), path, number);
        text = text.subarray(end + 1);
      }
      if (text.length > maxLineBytes) throw badLine(path, number + 1, `a line of more than ${maxLineBytes} bytes`);
      rest = text;
    }
  } finally {
    closeSync(fd);
  }
}

function parseLine(line: string, path: string, number: number): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = parseJson(line);
  } catch {
    throw badLine(path, number, quote(line));
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badLine(path, number, quote(line));
  return value as Readonly<Record<string, unknown>>;
}

function badLine(path: string, number: number, found: string): UserError {
  return new UserError({ problem: `Line ${number} of ${path} is damaged.`, expected: 'a JSON object', found });
}
