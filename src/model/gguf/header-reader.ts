/**
 * @file Reads the numbers, texts and lists of a GGUF header one after another. Each length is checked against the
 * rest of the file, and against a limit for the whole header, before anything is read.
 */
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { describe } from '../../util/json.js';
import type { MetadataValue } from './header.js';

/** Gemma's vocabulary of 262,144 tokens with its merges takes 16 MB. */
const maxHeaderBytes = 128 * 2 ** 20;
/** In all lists together: Gemma's have 1.5 million. */
const maxElements = 4_000_000;
const chunkBytes = 2 ** 20;

/** Bytes and reader of each type of fixed width, by its number in the file. */
const scalars: Readonly<Record<number, readonly [bytes: number, read: (view: DataView, at: number) => number]>> = {
  0: [1, (view, at) => view.getUint8(at)],
  1: [1, (view, at) => view.getInt8(at)],
  2: [2, (view, at) => view.getUint16(at, true)],
  3: [2, (view, at) => view.getInt16(at, true)],
  4: [4, (view, at) => view.getUint32(at, true)],
  5: [4, (view, at) => view.getInt32(at, true)],
  6: [4, (view, at) => view.getFloat32(at, true)],
  7: [1, (view, at) => view.getUint8(at)],
  10: [8, (view, at) => Number(view.getBigUint64(at, true))],
  11: [8, (view, at) => Number(view.getBigInt64(at, true))],
  12: [8, (view, at) => view.getFloat64(at, true)],
};
const types = { bool: 7, text: 8, list: 9 } as const;

export class HeaderReader {
  /** Bytes read so far. */
  position = 0;
  #chunk = Buffer.alloc(0);
  #chunkStart = 0;
  #elements = 0;
  readonly #hash = createHash('sha256');

  /** @param corrupt returns the error for a reason. */
  constructor(
    private readonly fd: number,
    private readonly fileBytes: number,
    private readonly corrupt: (reason: string) => Error,
  ) {}

  magic(): string {
    return this.#take(4, 'its first bytes').toString('latin1');
  }

  uint32(): number {
    return this.#take(4, 'a number').readUInt32LE();
  }

  /** @throws for a number beyond the integers of float64. */
  uint64(): number {
    const value = this.#take(8, 'a number').readBigUInt64LE();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.corrupt(`it holds the impossible size ${value}`);
    return Number(value);
  }

  /** A uint64 that counts `what`, each of which takes at least 8 bytes. */
  count(what: string, max: number): number {
    const value = this.uint64();
    const most = Math.min(max, Math.floor((this.fileBytes - this.position) / 8));
    if (value > most) throw this.corrupt(`it claims ${value} ${what} where at most ${most} are possible`);
    return value;
  }

  /** @param what names it in errors. @throws for text that is not UTF-8. */
  text(what: string, maxBytes: number = maxHeaderBytes): string {
    const length = this.uint64();
    if (length > maxBytes) throw this.corrupt(`${what} has ${length} bytes where at most ${maxBytes} are possible`);
    const bytes = this.#take(length, what);
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw this.corrupt(`${what} is not UTF-8`);
    }
  }

  /** A type, then a value of it. */
  value(key: string): MetadataValue {
    const type = this.uint32();
    return type === types.list ? this.#list(key) : this.#single(type, key);
  }

  /** SHA-256 of all bytes read so far. */
  hash(): string {
    return this.#hash.copy().digest('hex');
  }

  #single(type: number, key: string): number | boolean | string {
    if (type === types.text) return this.text(describe(key));
    const scalar = Object.hasOwn(scalars, type) ? scalars[type] : undefined;
    if (scalar === undefined) throw this.corrupt(`${describe(key)} has the unknown type ${type}`);
    const [bytes, read] = scalar;
    const part = this.#take(bytes, describe(key));
    const value = read(new DataView(part.buffer, part.byteOffset, bytes), 0);
    return type === types.bool ? value !== 0 : value;
  }

  #list(key: string): readonly number[] | readonly boolean[] | readonly string[] {
    const type = this.uint32();
    if (type === types.list) throw this.corrupt(`${describe(key)} is a list of lists`);
    const length = this.uint64();
    const least = type === types.text ? 8 : (scalars[type]?.[0] ?? 1);
    this.#elements += length;
    if (this.#elements > maxElements || length * least > this.fileBytes - this.position) {
      throw this.corrupt(`${describe(key)} claims ${length} elements, more than can be`);
    }
    return Array.from({ length }, () => this.#single(type, key)) as number[] | boolean[] | string[];
  }

  /** The next bytes; valid until the next call. */
  #take(length: number, what: string): Buffer {
    const end = this.position + length;
    if (end > this.fileBytes) throw this.corrupt(`it ends within ${what}`);
    if (end > maxHeaderBytes) throw this.corrupt(`its header has more than ${maxHeaderBytes} bytes`);
    if (end > this.#chunkStart + this.#chunk.length) this.#load(length);
    const part = this.#chunk.subarray(this.position - this.#chunkStart, end - this.#chunkStart);
    this.position = end;
    this.#hash.update(part);
    return part;
  }

  #load(length: number): void {
    this.#chunk = Buffer.alloc(Math.min(Math.max(length, chunkBytes), this.fileBytes - this.position));
    this.#chunkStart = this.position;
    for (let filled = 0; filled < this.#chunk.length; ) {
      const count = readSync(this.fd, this.#chunk, filled, this.#chunk.length - filled, this.position + filled);
      if (count === 0) throw this.corrupt('it became shorter while it was read');
      filled += count;
    }
  }
}
