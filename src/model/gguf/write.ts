/**
 * @file Writes a GGUF file, version 3, little-endian: metadata, the list of tensors, then their data, each aligned to 32 bytes.
 * Tensors are read one after another and converted in pieces. The file is written under a temporary name, then renamed.
 */
import { writeLargeFile } from '../../util/large-file.js';
import { elementCount } from '../network/params.js';
import { quantize, type TensorFormat } from './blocks.js';

type MetadataToWrite =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly flag: boolean }
  | { readonly text: string }
  | { readonly texts: readonly string[] }
  | { readonly ints: readonly number[] };
export type MetadataEntry = readonly [key: string, value: MetadataToWrite];

export interface GgufTensorToWrite {
  readonly name: string;
  /** Row-major. */
  readonly shape: readonly number[];
  readonly format: TensorFormat;
  /** Returns float32 values, which are not kept. */
  read(): Float32Array;
}

const alignment = 32;
/** Numbers per piece; whole blocks. */
const pieceElements = 2 ** 18;

/** @throws the system error of the failing call; an older file is then unchanged. */
export async function writeGguf(
  path: string,
  metadata: readonly MetadataEntry[],
  tensors: readonly GgufTensorToWrite[],
): Promise<void> {
  const head = header(metadata, tensors);
  const padded = tensors.map(byteLength).map((bytes) => bytes + padding(bytes));
  const bytes = padded.reduce((sum, each) => sum + each, head.byteLength);
  await writeLargeFile(path, bytes, async (append) => {
    await append(head);
    for (const tensor of tensors) {
      const values = tensor.read();
      if (values.length !== elementCount(tensor.shape)) {
        throw new Error(`${tensor.name} has ${values.length} values, which is not shape [${tensor.shape.join(', ')}]`);
      }
      for (let done = 0; done < values.length; done += pieceElements) {
        await append(quantize(values.subarray(done, done + pieceElements), tensor.format));
      }
      await append(new Uint8Array(padding(byteLength(tensor))));
    }
  });
}

function byteLength({ shape, format }: GgufTensorToWrite): number {
  return (elementCount(shape) / format.elements) * format.bytes;
}

function padding(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment - bytes;
}

function header(metadata: readonly MetadataEntry[], tensors: readonly GgufTensorToWrite[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const number = (bytes: number, write: (buffer: Buffer) => void) => {
    const buffer = Buffer.alloc(bytes);
    write(buffer);
    parts.push(buffer);
  };
  const u32 = (value: number) => number(4, (buffer) => buffer.writeUInt32LE(value));
  const u64 = (value: number) => number(8, (buffer) => buffer.writeBigUInt64LE(BigInt(value)));
  const text = (value: string) => {
    const bytes = Buffer.from(value);
    u64(bytes.length);
    parts.push(bytes);
  };
  const value = (entry: MetadataToWrite) => {
    if ('u32' in entry) {
      u32(4);
      u32(entry.u32);
    } else if ('f32' in entry) {
      u32(6);
      number(4, (buffer) => buffer.writeFloatLE(entry.f32));
    } else if ('flag' in entry) {
      u32(7);
      parts.push(Uint8Array.of(entry.flag ? 1 : 0));
    } else if ('text' in entry) {
      u32(8);
      text(entry.text);
    } else if ('texts' in entry) {
      u32(9);
      u32(8);
      u64(entry.texts.length);
      for (const each of entry.texts) text(each);
    } else {
      u32(9);
      u32(5);
      u64(entry.ints.length);
      parts.push(new Uint8Array(Int32Array.from(entry.ints).buffer));
    }
  };

  parts.push(Buffer.from('GGUF'));
  u32(3);
  u64(tensors.length);
  u64(metadata.length);
  for (const [key, entry] of metadata) {
    text(key);
    value(entry);
  }
  let offset = 0;
  for (const tensor of tensors) {
    text(tensor.name);
    u32(tensor.shape.length);
    for (const size of [...tensor.shape].reverse()) u64(size);
    u32(tensor.format.id);
    u64(offset);
    offset += byteLength(tensor);
    offset += padding(offset);
  }
  const bytes = Buffer.concat(parts);
  return Buffer.concat([bytes, new Uint8Array(padding(bytes.length))]);
}
