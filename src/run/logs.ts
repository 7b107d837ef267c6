/**
 * @file Append-only logs of a run, one JSON object per line. A process killed at any moment leaves at most one incomplete
 * line at the end. Resuming truncates the file to the checkpoint, so a resumed log equals an uninterrupted one byte for byte.
 */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync } from 'node:fs';
import { type Checksum, checksumOfOpen, emptyChecksum, extendChecksum, sameChecksum } from '../util/checksum.js';
import { systemErrorCode, UserError } from '../util/errors.js';
import { explainWrites, openRegularFile, writeAll } from '../util/file.js';
import { isRecord, parseJson, quote } from '../util/json.js';

export interface LogWriter {
  /**
   * Appends one line.
   *
   * @throws RangeError naming a number that is not finite, which JSON would silently turn into null.
   * @throws UserError when the line cannot be written; the file then ends with the previous line.
   */
  append(record: Readonly<Record<string, unknown>>): void;
  /** Flushes all lines to disk; called before completing a checkpoint that relies on them. */
  sync(): void;
  /** Size and checksum of all lines, stored in a checkpoint and passed to {@link openLog} on resuming. */
  mark(): Checksum;
  close(): void;
}

/**
 * Opens a log for appending. With `mark`, taken at a checkpoint, the log is truncated to it; without, only an incomplete
 * last line is removed.
 *
 * @throws UserError when the log does not begin with the lines of `mark`.
 */
export function openLog(path: string, mark?: Checksum): LogWriter {
  const fd = explainWrites(path, () => openSync(path, 'a+'));
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new UserError(`Cannot write ${path}: it is not a regular file.`);
    const present = stat.size;
    const kept = checksumOfOpen(fd, mark?.bytes ?? lastLineEnd(fd, present));
    if (mark !== undefined) requireMark(path, kept, mark);
    if (kept.bytes < present) explainWrites(path, () => ftruncateSync(fd, kept.bytes));
    return writer(fd, path, kept);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** @throws UserError when the log at `path` does not begin with the lines of `mark`. */
export function requireLog(path: string, mark: Checksum): void {
  let fd: number | undefined;
  try {
    fd = openRegularFile(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  try {
    requireMark(path, fd === undefined ? emptyChecksum : checksumOfOpen(fd, mark.bytes), mark);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

const isMissing = (error: unknown) => error instanceof UserError && systemErrorCode(error.cause) === 'ENOENT';

function requireMark(path: string, found: Checksum, mark: Checksum): void {
  if (sameChecksum(found, mark)) return;
  throw new UserError({
    problem: `${path} is damaged: its first ${mark.bytes} bytes have changed since the checkpoint was made.`,
    expected: `CRC-32 ${mark.crc32}`,
    found: found.bytes < mark.bytes ? `only ${found.bytes} bytes` : `CRC-32 ${found.crc32}`,
  });
}

function writer(fd: number, path: string, start: Checksum): LogWriter {
  let mark = start;
  return {
    append: (record) => {
      const line = Buffer.from(`${JSON.stringify(record, finite)}\n`);
      explainWrites(path, () => {
        try {
          writeAll(fd, line);
        } catch (error) {
          ftruncateSync(fd, mark.bytes); // part of the line may have been written
          throw error;
        }
      });
      mark = extendChecksum(mark, line);
    },
    sync: () => explainWrites(path, () => fsyncSync(fd)),
    mark: () => mark,
    close: () => closeSync(fd),
  };
}

function finite(this: unknown, key: string, value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new RangeError(`log field "${key}" is ${value}`);
  return value;
}

const newline = 0x0a;

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

/** Longest line that a reader accepts. A rollout with a long completion has about 100 kB. */
const maxLineBytes = 16 * 2 ** 20;

/** A position in a log, after a number of whole lines. */
export interface LogPlace {
  readonly bytes: number;
  readonly lines: number;
}

export const logStart: LogPlace = { bytes: 0, lines: 0 };

/**
 * Iterates over the objects of a log of any size. An incomplete last line (the run was killed, or is writing it now) is
 * skipped. A missing file counts as an empty log.
 *
 * @throws UserError naming the line that is not a JSON object or is too long.
 */
export function* readLog(path: string): Generator<Readonly<Record<string, unknown>>> {
  for (const { record } of readLogFrom(path, logStart)) yield record;
}

/** As {@link readLog}, for the lines after `start`. Each comes with the position after it, where a later call can start. */
export function* readLogFrom(
  path: string,
  start: LogPlace,
): Generator<{ readonly record: Readonly<Record<string, unknown>>; readonly place: LogPlace }> {
  let fd: number;
  try {
    fd = openRegularFile(path);
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  try {
    const block = Buffer.alloc(1 << 20);
    let rest = Buffer.alloc(0);
    let position = start.bytes;
    let place = start;
    for (;;) {
      const read = readSync(fd, block, 0, block.length, position);
      if (read === 0) return;
      position += read;
      let text = Buffer.concat([rest, block.subarray(0, read)]);
      for (let end = text.indexOf(newline); end !== -1; end = text.indexOf(newline)) {
        place = { bytes: place.bytes + end + 1, lines: place.lines + 1 };
        yield { record: parseLine(text.toString('utf8', 0, end), path, place.lines), place };
        text = text.subarray(end + 1);
      }
      if (text.length > maxLineBytes) throw badLine(path, place.lines + 1, `a line of more than ${maxLineBytes} bytes`);
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
  if (!isRecord(value)) throw badLine(path, number, quote(line));
  return value;
}

function badLine(path: string, number: number, found: string): UserError {
  return new UserError({ problem: `Line ${number} of ${path} is damaged.`, expected: 'a JSON object', found });
}
