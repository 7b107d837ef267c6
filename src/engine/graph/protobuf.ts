/**
 * @file A minimal writer for the protobuf wire format (protobuf.dev/programming-guides/encoding). A message is a tree of byte
 * chunks, joined once at the end. Zeros are written too, since they are significant in a oneof.
 */

/** A message under construction: encoded fields and nested messages, in order. */
export interface Message {
  readonly parts: (Uint8Array | Message)[];
  /** Bytes that the parts will take. */
  size: number;
}

const text = new TextEncoder();

export function message(): Message {
  return { parts: [], size: 0 };
}

export function bytes(target: Message, field: number, value: Uint8Array): void {
  append(target, varintBytes(field * 8 + 2));
  append(target, varintBytes(value.byteLength));
  append(target, value);
}

export function string(target: Message, field: number, value: string): void {
  bytes(target, field, text.encode(value));
}

/** A nested message, which must not be changed afterwards. */
export function nested(target: Message, field: number, value: Message): void {
  append(target, varintBytes(field * 8 + 2));
  append(target, varintBytes(value.size));
  target.parts.push(value);
  target.size += value.size;
}

/** Tag and length of a field whose `length` bytes of content are written elsewhere, after this message. */
export function lengthPrefix(target: Message, field: number, length: number): void {
  append(target, varintBytes(field * 8 + 2));
  append(target, varintBytes(length));
}

/** int32, int64, bool and enum fields: safe integers, negative ones as ten bytes of two's complement. */
export function integer(target: Message, field: number, value: number): void {
  append(target, varintBytes(field * 8));
  append(target, varintBytes(value));
}

/** A double field. */
export function double(target: Message, field: number, value: number): void {
  append(target, varintBytes(field * 8 + 1));
  append(target, new Uint8Array(Float64Array.of(value).buffer));
}

export function float(target: Message, field: number, value: number): void {
  append(target, varintBytes(field * 8 + 5));
  append(target, new Uint8Array(Float32Array.of(value).buffer));
}

/** A `repeated int64` field in packed form. */
export function packedIntegers(target: Message, field: number, values: readonly number[]): void {
  const inner = message();
  for (const value of values) append(inner, varintBytes(value));
  nested(target, field, inner);
}

export function toBytes(source: Message): Uint8Array {
  const result = new Uint8Array(source.size);
  copyParts(source, result, 0);
  return result;
}

function copyParts(source: Message, target: Uint8Array, start: number): number {
  let offset = start;
  for (const part of source.parts) {
    if (part instanceof Uint8Array) {
      target.set(part, offset);
      offset += part.byteLength;
    } else {
      offset = copyParts(part, target, offset);
    }
  }
  return offset;
}

function append(target: Message, chunk: Uint8Array): void {
  target.parts.push(chunk);
  target.size += chunk.byteLength;
}

function varintBytes(value: number): Uint8Array {
  if (!Number.isSafeInteger(value)) throw new Error(`${value} is not a safe integer`);
  if (value >= 0 && value < 128) return Uint8Array.of(value);
  const result: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest >= 128n) {
    result.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  result.push(Number(rest));
  return Uint8Array.from(result);
}
