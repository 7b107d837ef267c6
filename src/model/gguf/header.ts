/**
 * @file Reads the header of a GGUF file: metadata and the list of tensors (the format is described in docs/gguf.md of
 * github.com/ggml-org/ggml). Every count, length and offset is checked against a limit and the file's size before memory is
 * allocated. Tensors are read one at a time, in pieces. Independent of models.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, readSync } from 'node:fs';
import type { UserError } from '../../util/errors.js';
import { openWithHeader } from '../../util/file.js';
import { describe } from '../../util/json.js';
import { wrong } from '../../util/schema.js';
import { dequantize, formatName, formatOf, type TensorFormat } from './blocks.js';

export type MetadataValue = number | boolean | string | readonly number[] | readonly boolean[] | readonly string[];

export interface GgufTensor {
  readonly name: string;
  /** `q4_1`; may be unsupported. */
  readonly formatName: string;
  /** Undefined if unsupported. */
  readonly format: TensorFormat | undefined;
  /** Row-major, as in PyTorch: the reverse of the file's order. */
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly offset: number;
  /** 0 for an unsupported format, whose size is unknown. */
  readonly byteLength: number;
}

export interface GgufFile {
  readonly path: string;
  readonly fd: number;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** SHA-256 of all bytes before the tensors. */
  readonly headerHash: string;
}

const limits = {
  /** Llama 4 has about 150 entries. */
  entries: 65_536,
  tensors: 150_000,
  dimensions: 4,
  nameBytes: 4096,
  alignment: 2 ** 20,
};
/** Blocks per piece, so that a piece fits the second-level cache. */
const pieceBlocks = 16_384;

/**
 * Opens a file and checks its header. The caller closes it with {@link closeGguf}.
 *
 * @throws UserError that names the file and the problem.
 */
export function openGguf(path: string): GgufFile {
  return openWithHeader(path, readHeader);
}

export function closeGguf(file: GgufFile): void {
  closeSync(file.fd);
}

/** A tensor widened to float32, row-major. @throws UserError for a format that cannot be read. */
export function readGgufTensor(file: GgufFile, tensor: GgufTensor): Float32Array {
  const { format } = tensor;
  if (format === undefined) {
    throw corrupt(file.path, `tensor ${describe(tensor.name)} has the unsupported type ${tensor.formatName}`);
  }
  const values = new Float32Array((tensor.byteLength / format.bytes) * format.elements);
  let done = 0;
  for (const piece of pieces(file, tensor, pieceBlocks * format.bytes)) {
    const count = (piece.length / format.bytes) * format.elements;
    dequantize(piece, format, values.subarray(done, done + count));
    done += count;
  }
  return values;
}

/** SHA-256 of a tensor's bytes, in hexadecimal. */
export function hashGgufTensor(file: GgufFile, tensor: GgufTensor): string {
  const hash = createHash('sha256');
  for (const piece of pieces(file, tensor, 2 ** 20)) hash.update(piece);
  return hash.digest('hex');
}

function* pieces(file: GgufFile, { offset, byteLength }: GgufTensor, size: number): Generator<Uint8Array> {
  const buffer = new Uint8Array(Math.min(size, byteLength));
  for (let done = 0; done < byteLength; done += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, byteLength - done));
    for (let filled = 0; filled < piece.length; ) {
      const count = readSync(file.fd, piece, filled, piece.length - filled, offset + done + filled);
      if (count === 0) throw corrupt(file.path, 'it became shorter while it was read');
      filled += count;
    }
    yield piece;
  }
}

function readHeader(fd: number, path: string): Omit<GgufFile, 'path' | 'fd'> {
  const fileBytes = fstatSync(fd).size;
  const reader = new HeaderReader(fd, fileBytes, (reason) => corrupt(path, reason));
  if (fileBytes < 24 || reader.magic() !== 'GGUF') throw corrupt(path, 'it does not begin with "GGUF"');
  const version = reader.uint32();
  if (version !== 2 && version !== 3) {
    const swapped = version === 0x03000000 || version === 0x02000000;
    throw corrupt(path, swapped ? 'its numbers are big-endian' : `its version is ${version}, not 2 or 3`);
  }
  const tensorCount = reader.count('tensors', limits.tensors);
  const entryCount = reader.count('metadata entries', limits.entries);
  const metadata = new Map<string, MetadataValue>();
  for (let i = 0; i < entryCount; i += 1) {
    const key = reader.text('the name of a metadata entry', limits.nameBytes);
    if (metadata.has(key)) throw corrupt(path, `it contains two metadata entries named ${describe(key)}`);
    metadata.set(key, reader.value(key));
  }
  const alignment = metadata.get('general.alignment') ?? 32;
  const usable = typeof alignment === 'number' && Number.isInteger(Math.log2(alignment)) && alignment >= 8;
  if (!usable || alignment > limits.alignment) {
    throw corrupt(path, `\`general.alignment\` is ${describe(alignment)}, not a power of two from 8 on`);
  }
  const listed = Array.from({ length: tensorCount }, () => readTensorInfo(reader, path));
  const headerHash = reader.hash();
  const dataStart = Math.ceil(reader.position / alignment) * alignment;
  return { metadata, headerHash, tensors: placeTensors(path, listed, { dataStart, alignment, fileBytes }) };
}

function readTensorInfo(reader: HeaderReader, path: string): GgufTensor {
  const name = reader.text('the name of a tensor', limits.nameBytes);
  const dimensions = reader.uint32();
  if (dimensions < 1 || dimensions > limits.dimensions) {
    throw corrupt(path, `tensor ${describe(name)} has ${dimensions} dimensions`);
  }
  const sizes = Array.from({ length: dimensions }, () => reader.uint64());
  const id = reader.uint32();
  const offset = reader.uint64();
  const format = formatOf(id);
  const count = sizes.reduce((product, size) => product * size, 1);
  const byteLength = format === undefined ? 0 : (count / format.elements) * format.bytes;
  if (!Number.isSafeInteger(count) || !Number.isSafeInteger(byteLength) || sizes.includes(0)) {
    throw corrupt(path, `tensor ${describe(name)} has the impossible shape ${describe(sizes)}`);
  }
  if (format !== undefined && sizes[0]! % format.elements !== 0) {
    throw corrupt(path, `tensor ${describe(name)} has rows of ${sizes[0]}, which are not whole blocks`);
  }
  return { name, formatName: formatName(id), format, shape: sizes.reverse(), offset, byteLength };
}

/** Each tensor starts at the next multiple of the alignment after the previous one. */
function placeTensors(
  path: string,
  listed: readonly GgufTensor[],
  { dataStart, alignment, fileBytes }: { dataStart: number; alignment: number; fileBytes: number },
): Map<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  let end = dataStart;
  for (const tensor of [...listed].sort((a, b) => a.offset - b.offset)) {
    const offset = dataStart + tensor.offset;
    const quoted = describe(tensor.name);
    if (tensors.has(tensor.name)) throw corrupt(path, `it contains two tensors named ${quoted}`);
    if (offset < end) throw corrupt(path, `tensor ${quoted} overlaps the one before it`);
    if (tensor.offset % alignment !== 0) throw corrupt(path, `tensor ${quoted} is not aligned to ${alignment} bytes`);
    end = offset + tensor.byteLength;
    if (end > fileBytes) {
      throw corrupt(path, `tensor ${quoted} ends at byte ${end}, but the file has ${fileBytes}`);
    }
    tensors.set(tensor.name, { ...tensor, offset });
  }
  return tensors;
}

function corrupt(path: string, reason: string): UserError {
  return wrong({ path, what: 'a GGUF file that tinyzero can read', fix: 'Download or create the file again.' }, [
    reason,
  ]);
}

/** Gemma's vocabulary of 262,144 tokens with its merges takes 16 MB. */
const maxHeaderBytes = 128 * 2 ** 20;
/** Limit of the elements of all lists together. Gemma's have 1.5 million. */
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

class HeaderReader {
  /** Bytes read so far. */
  position = 0;
  #chunk = Buffer.alloc(0);
  #chunkStart = 0;
  #elements = 0;
  readonly #hash = createHash('sha256');

  /** @param corrupt makes an error from a reason. */
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

  /** @throws for a number above 2^53 - 1. */
  uint64(): number {
    const value = this.#take(8, 'a number').readBigUInt64LE();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.corrupt(`it contains the impossible size ${value}`);
    return Number(value);
  }

  /** A uint64 that counts `what`, each of which takes at least 8 bytes. */
  count(what: string, max: number): number {
    const value = this.uint64();
    const most = Math.min(max, Math.floor((this.fileBytes - this.position) / 8));
    if (value > most) throw this.corrupt(`it states ${value} ${what}, but at most ${most} are possible`);
    return value;
  }

  /** @param what names it in errors. @throws for text that is not UTF-8. */
  text(what: string, maxBytes: number = maxHeaderBytes): string {
    const length = this.uint64();
    if (length > maxBytes) throw this.corrupt(`${what} has ${length} bytes, but at most ${maxBytes} are possible`);
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
      throw this.corrupt(`${describe(key)} states ${length} elements, more than possible`);
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
