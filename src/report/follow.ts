/**
 * @file Reads files that another process may be writing, again and again, and only what changed since the last time: a file
 * that was replaced is read whole, a log from where the last reading ended. Only reads.
 */
import { closeSync, readSync, statSync } from 'node:fs';
import { type LogPlace, logStart, readLogFrom } from '../run/logs.js';
import { UserError } from '../util/errors.js';
import { openRegularFile, unreadable } from '../util/file.js';
import type { JsonRecord } from '../util/json.js';

/** Reads a part of a run; returns the same object until a file changes. */
export type Part<T> = () => T;

/** Changes when the file is replaced or written to; undefined if there is none. @throws UserError when that is unknown. */
export function versionOf(path: string): string | undefined {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat && `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeMs}`;
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** The file at `path` as `read` returns it; undefined while there is none. What `read` throws is thrown each time. */
export function followFile<T>(path: string, read: (path: string) => T): Part<T | undefined> {
  let seen: string | undefined;
  let value: T | undefined;
  return () => {
    const version = versionOf(path);
    if (version === seen) return value;
    // After an error, the file is read again, whether or not it changes.
    seen = undefined;
    value = version === undefined ? undefined : read(path);
    seen = version;
    return value;
  };
}

/** Collects the lines of a log. */
export interface Collector<T> {
  /** @throws UserError when the line is damaged. */
  add(line: JsonRecord, number: number): void;
  /** The result of the lines so far, as a new object. */
  value(): T;
}

export interface FollowedLog<T> {
  readonly read: Part<T>;
  /** Reads the log from its beginning next time. */
  restart(): void;
}

/**
 * The log at `path`, empty while there is none. A log that was cut, as by a resumed run, or replaced by another is read from
 * its beginning.
 */
export function followLog<T>(path: string, collector: () => Collector<T>): FollowedLog<T> {
  let lines = collector();
  let place: LogPlace = logStart;
  let end: Buffer = Buffer.alloc(0);
  let seen: string | undefined;
  let value = lines.value();
  const restart = () => {
    lines = collector();
    place = logStart;
    end = Buffer.alloc(0);
    seen = undefined;
    value = lines.value();
  };
  const read = () => {
    const version = versionOf(path);
    if (version === seen) return value;
    if (version === undefined || !endBefore(path, place, end.length).equals(end)) restart();
    try {
      const start = place;
      for (const line of readLogFrom(path, start)) {
        lines.add(line.record, line.place.lines);
        place = line.place;
      }
      if (place !== start) {
        end = endBefore(path, place, Math.min(place.bytes, comparedBytes));
        value = lines.value();
      }
    } catch (error) {
      restart();
      throw error;
    }
    seen = version;
    return value;
  };
  return { read, restart };
}

/** A log counts as the same if this many bytes before the end of the last reading are unchanged. */
const comparedBytes = 256;

/** The `length` bytes before a place, or fewer if the file is shorter. */
function endBefore(path: string, { bytes }: LogPlace, length: number): Buffer {
  if (length === 0) return Buffer.alloc(0);
  const fd = openRegularFile(path);
  try {
    const found = Buffer.alloc(length);
    return found.subarray(0, readSync(fd, found, 0, length, bytes - length));
  } catch (error) {
    throw error instanceof UserError ? error : unreadable(path, error);
  } finally {
    closeSync(fd);
  }
}

/** `compute`, called again only when its arguments are other objects than the last time. */
export function remembered<Inputs extends readonly unknown[], T>(
  compute: (...inputs: Inputs) => T,
): (...inputs: Inputs) => T {
  let last: { readonly inputs: Inputs; readonly value: T } | undefined;
  return (...inputs) => {
    if (last?.inputs.length !== inputs.length || inputs.some((input, i) => input !== last!.inputs[i])) {
      last = { inputs, value: compute(...inputs) };
    }
    return last.value;
  };
}
