/**
 * @file Reads and writes safetensors files: an unsigned 64-bit header length, a JSON header, and the tensors' bytes. The
 * whole header is validated before use. Tensors are read one at a time, in pieces, directly into place, so that files may
 * exceed 2 GiB and a tensor is never held twice. Follows the rules of the format's own reader
 * (github.com/huggingface/safetensors, `tensor.rs`). Independent of models.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, readSync } from 'node:fs';
import { type Checksum, emptyChecksum, extendChecksum } from '../../util/checksum.js';
import type { UserError } from '../../util/errors.js';
import { openWithHeader } from '../../util/file.js';
import { describe, parseJsonRecord } from '../../util/json.js';
import { type Append, writeLargeFile } from '../../util/large-file.js';
import { check, integer, list, mapOf, object, oneOf, pair, text, wrong } from '../../util/schema.js';
import { bytesPerElement, type Dtype, narrow, widen } from './dtype.js';

export interface TensorToWrite {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: Dtype;
}

/** The format's names for the dtypes that are written. */
const formatName: Readonly<Record<Dtype, string>> = { float32: 'F32', bfloat16: 'BF16', float16: 'F16' };

export function bytesOf({ shape, dtype }: TensorToWrite): number {
  return shape.reduce((a, b) => a * b, 1) * bytesPerElement[dtype];
}

/** @returns all bytes before the first tensor, the tensors in file order, and the size of the file in bytes. */
function safetensorsLayout<Tensor extends TensorToWrite>(
  tensors: readonly Tensor[],
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): { readonly head: Uint8Array; readonly ordered: readonly Tensor[]; readonly bytes: number } {
  // The reference's order: by alignment, then by name, so that every tensor starts aligned.
  const ordered = [...tensors].sort(
    (a, b) => bytesPerElement[b.dtype] - bytesPerElement[a.dtype] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  for (const tensor of ordered) {
    const begin = end;
    end += bytesOf(tensor);
    header[tensor.name] = { dtype: formatName[tensor.dtype], shape: tensor.shape, data_offsets: [begin, end] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(json.length / 8) * 8;
  const head = new Uint8Array(8 + length).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  head.set(json, 8);
  return { head, ordered, bytes: head.length + end };
}

/** A whole file of float32 tensors, in memory. */
export async function float32File(
  specs: Readonly<Record<string, readonly number[]>>,
  read: (name: string) => Promise<Float32Array>,
): Promise<ArrayBuffer> {
  const tensors = Object.entries(specs).map(([name, shape]) => ({ name, shape, dtype: 'float32' as const }));
  const { head, ordered, bytes } = safetensorsLayout(tensors);
  const file = new Uint8Array(bytes);
  file.set(head);
  let at = head.length;
  for (const tensor of ordered) {
    const values = await read(tensor.name);
    file.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += bytesOf(tensor);
  }
  return file.buffer;
}

/** Bits per element, by the format's type names. Only the three in {@link readable} can be converted. */
const elementBits: Readonly<Record<string, number>> = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  I64: 64,
  U64: 64,
  F64: 64,
  C64: 64,
};
const readable: Readonly<Record<string, Dtype>> = { F32: 'float32', BF16: 'bfloat16', F16: 'float16' };

/**
 * Enough for about 150,000 tensors. The format allows 100 MB, but such a header takes gigabytes to parse.
 */
const maxHeaderBytes = 16 * 2 ** 20;
/** Bytes converted at once; fits in the second-level cache. */
const pieceBytes = 1 << 20;

export interface TensorEntry {
  readonly name: string;
  /** The type's name in the format, such as `BF16`; conversion may be unsupported. */
  readonly format: string;
  /** Undefined when `format` is not one of float32, bfloat16, float16. */
  readonly dtype: Dtype | undefined;
  readonly shape: readonly number[];
  /** Start of the tensor in bytes from the start of the file, and its size in bytes. */
  readonly offset: number;
  readonly byteLength: number;
}

interface HeaderEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

export interface SafetensorsFile {
  readonly path: string;
  readonly fd: number;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Opens a file and checks its header. The caller closes it with {@link closeSafetensors}.
 *
 * @throws UserError naming the file and, where there is one, the tensor.
 */
export function openSafetensors(path: string): SafetensorsFile {
  return openWithHeader(path, readHeader);
}

export function closeSafetensors(file: SafetensorsFile): void {
  closeSync(file.fd);
}

/** A tensor widened to float32, row-major. Besides the result, only one piece of the file is in memory. */
export function readTensor(file: SafetensorsFile, entry: TensorEntry): Float32Array {
  const { dtype } = entry;
  if (dtype === undefined)
    throw corrupt(file.path, `tensor \`${entry.name}\` has the unsupported type ${entry.format}`);
  const size = bytesPerElement[dtype];
  const values = new Float32Array(entry.byteLength / size);
  if (dtype === 'float32') {
    readInto(file.fd, file.path, new Uint8Array(values.buffer), entry.offset);
    return values;
  }
  const piece = new Uint8Array(Math.min(pieceBytes, entry.byteLength));
  for (let done = 0; done < entry.byteLength; done += piece.byteLength) {
    const part = piece.subarray(0, Math.min(piece.byteLength, entry.byteLength - done));
    readInto(file.fd, file.path, part, entry.offset + done);
    widen(part, dtype, values.subarray(done / size, (done + part.byteLength) / size));
  }
  return values;
}

/** SHA-256 of a tensor's bytes, in hexadecimal. */
export function hashTensor(file: SafetensorsFile, entry: TensorEntry): string {
  const hash = createHash('sha256');
  const piece = new Uint8Array(Math.min(pieceBytes, entry.byteLength));
  for (let done = 0; done < entry.byteLength; done += piece.byteLength) {
    const part = piece.subarray(0, Math.min(piece.byteLength, entry.byteLength - done));
    readInto(file.fd, file.path, part, entry.offset + done);
    hash.update(part);
  }
  return hash.digest('hex');
}

/**
 * Writes a file atomically, one tensor at a time.
 *
 * @param read returns a tensor's values, float32 and row-major. The array is not retained.
 * @returns the checksum of the file, computed while it is written.
 * @throws the system error of a failing call. An older file then stays, and no partial file is left.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  read: (name: string) => Float32Array | Promise<Float32Array>,
  metadata?: Readonly<Record<string, string>>,
): Promise<Checksum> {
  const { head, ordered, bytes } = safetensorsLayout(tensors, metadata);
  let checksum = emptyChecksum;
  const produce = async (append: Append) => {
    await append(head);
    for (const tensor of ordered) {
      const values = await read(tensor.name);
      if (values.length * bytesPerElement[tensor.dtype] !== bytesOf(tensor)) {
        throw new Error(`${tensor.name}: ${values.length} values do not match the shape [${tensor.shape.join(', ')}]`);
      }
      const step = pieceBytes / 4;
      for (let done = 0; done < values.length; done += step) {
        await append(narrow(values.subarray(done, done + step), tensor.dtype));
      }
    }
  };
  await writeLargeFile(path, bytes, produce, (block) => {
    checksum = extendChecksum(checksum, block);
  });
  return checksum;
}

function readHeader(fd: number, path: string): Pick<SafetensorsFile, 'tensors' | 'metadata'> {
  const fileBytes = fstatSync(fd).size;
  const prefix = Buffer.alloc(8);
  if (fileBytes < prefix.length) throw corrupt(path, `it has ${fileBytes} bytes, too few for a header`);
  readInto(fd, path, prefix, 0);
  const headerBytes = prefix.readBigUInt64LE();
  if (headerBytes > BigInt(Math.min(maxHeaderBytes, fileBytes - 8))) {
    const limit = Math.min(maxHeaderBytes, fileBytes - 8);
    throw corrupt(path, `it states a header of ${headerBytes} bytes, but at most ${limit} are possible`);
  }
  const bytes = new Uint8Array(Number(headerBytes));
  readInto(fd, path, bytes, 8);
  const header = parseJsonRecord(bytes, `The header of ${path}`);
  const repeated = firstRepeatedKey(new TextDecoder().decode(bytes));
  if (repeated !== undefined) throw corrupt(path, `it contains two tensors named ${describe(repeated)}`);

  const dataStart = 8 + bytes.length;
  const { __metadata__: metadata = {}, ...described } = header;
  const source = { path, what: soundFile, fix };
  const tensors = new Map<string, TensorEntry>();
  for (const [name, entry] of check(headerShape, described, source, 'header')) {
    tensors.set(name, readEntry(path, name, entry, dataStart));
  }
  checkLayout(path, [...tensors.values()], dataStart, fileBytes);
  return { tensors, metadata: Object.fromEntries(check(mapOf(text), metadata, source, 'header.__metadata__')) };
}

const sizes = list(integer({ min: 0 }));
const headerShape = mapOf(
  object({ dtype: oneOf(Object.keys(elementBits)), shape: sizes, data_offsets: pair(integer()) }),
);

function readEntry(
  path: string,
  name: string,
  { dtype: format, shape, data_offsets: [begin, end] }: HeaderEntry,
  dataStart: number,
): TensorEntry {
  const byteLength = (shape.reduce((a, b) => a * b, 1) * elementBits[format]!) / 8;
  if (!Number.isSafeInteger(byteLength) || begin < 0 || end - begin !== byteLength) {
    const needs = `where ${format} ${describe(shape)} needs ${byteLength}`;
    throw corrupt(path, `tensor ${describe(name)} has ${end - begin} bytes ${needs}`);
  }
  const dtype = Object.hasOwn(readable, format) ? readable[format] : undefined;
  return { name, format, dtype, shape, offset: dataStart + begin, byteLength };
}

/** Tensors must fill the rest of the file without gaps, which could hide data, or overlaps, which would alias it. */
function checkLayout(path: string, entries: TensorEntry[], dataStart: number, fileBytes: number): void {
  let end = dataStart;
  for (const entry of entries.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength)) {
    if (entry.offset !== end) {
      const kind = entry.offset < end ? 'overlaps the tensor before it' : 'leaves a gap before it';
      throw corrupt(path, `tensor ${describe(entry.name)} ${kind}`);
    }
    end += entry.byteLength;
  }
  if (end !== fileBytes) {
    throw corrupt(path, `its header describes ${end} bytes but the file has ${fileBytes}`);
  }
}

/** Finds a repeated key in the outermost object of valid JSON; JSON.parse silently keeps the last one. */
function firstRepeatedKey(json: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (let at = 0; at < json.length; at += 1) {
    const char = json[at];
    if (char === '{' || char === '[') depth += 1;
    else if (char === '}' || char === ']') depth -= 1;
    else if (char === '"') {
      const start = at;
      for (at += 1; json[at] !== '"'; at += 1) if (json[at] === '\\') at += 1;
      let next = at + 1;
      while (' \t\r\n'.includes(json[next] ?? ':')) next += 1;
      if (depth !== 1 || json[next] !== ':') continue;
      const key: string = JSON.parse(json.slice(start, at + 1));
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

function readInto(fd: number, path: string, target: Uint8Array, position: number): void {
  for (let done = 0; done < target.byteLength; ) {
    const count = readSync(fd, target, done, Math.min(target.byteLength - done, 1 << 30), position + done);
    if (count === 0) throw corrupt(path, 'it became shorter while it was read');
    done += count;
  }
}

const soundFile = 'a valid safetensors file';
const fix = 'Download or save the file again.';

function corrupt(path: string, reason: string): UserError {
  return wrong({ path, what: soundFile, fix }, [reason]);
}
