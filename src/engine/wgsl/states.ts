/** @file States on the card: their places in as few buffers as the card allows, and copies in and out. */
import { float16Values, halfTypes, type TypedArray, toHalves } from '../dtype.js';
import type { HalfForm, ProgramSpec, TensorSpec } from '../program.js';
import { sizeOf } from '../shape.js';
import type { WebGpuDevice } from '../webgpu/device.js';
import { type Place, piecesOf, wordsIn } from './kernel.js';
import { placeOf } from './memory.js';

/** Places in buffers of at most `most` words; a larger tensor is cut into pieces. `elements`: words of each buffer. */
export function placeStates(state: ProgramSpec['state'], most: number) {
  const elements: number[] = [];
  const places = new Map<string, Place>();
  const add = (size: number, packed: HalfForm | undefined): Place => {
    const rounded = Math.ceil(Math.max(packed ? size / 2 : size, 1) / 4) * 4;
    let arena = elements.length - 1;
    if (arena < 0 || elements[arena]! + rounded > most) arena = elements.push(0) - 1;
    const place = { buffer: `state${arena}`, offset: elements[arena]!, size, ...(packed && { packed }) };
    elements[arena]! += rounded;
    return place;
  };
  for (const [name, { shape, stored }] of Object.entries(state)) {
    const packed = stored === 'int8' ? undefined : stored;
    const place = placeOf(sizeOf(shape), packed ? 2 * most : most, (size) => add(size, packed));
    places.set(name, packed ? { ...place, packed } : place);
  }
  return { places, elements };
}

/** Copies of states. @param buffers by name. */
export function stateCopies({ device, read, readLater }: WebGpuDevice, buffers: ReadonlyMap<string, GPUBuffer>) {
  const partsOf = (place: Place) => {
    let at = 0;
    return piecesOf(place).map((piece) => {
      const [{ buffer, offset }, size] = [piece, wordsIn(piece)];
      const part = { buffer: buffers.get(buffer)!, offset: offset * 4, at, size };
      at += size;
      return part;
    });
  };
  const joined = (place: Place, parts: readonly ArrayBuffer[]): ArrayBuffer => {
    if (parts.length === 1) return parts[0]!;
    const whole = new Uint8Array(wordsIn(place) * 4);
    let at = 0;
    for (const part of parts) {
      whole.set(new Uint8Array(part), at);
      at += part.byteLength;
    }
    return whole.buffer;
  };
  const none = new ArrayBuffer(0);
  return {
    write(place: Place, values: TypedArray): void {
      const all = place.packed ? pairs(values as Float32Array, place.packed) : words(values);
      for (const { buffer, offset, at, size } of partsOf(place))
        device.queue.writeBuffer(buffer, offset, all, at, size);
    },
    fill(place: Place, value: TypedArray): void {
      const word = place.packed ? pairs(Float32Array.of(value[0]!, value[0]!), place.packed)[0]! : words(value)[0]!;
      for (const { buffer, offset, size } of partsOf(place)) {
        if (word === 0) {
          const encoder = device.createCommandEncoder();
          encoder.clearBuffer(buffer, offset, size * 4);
          device.queue.submit([encoder.finish()]);
        } else device.queue.writeBuffer(buffer, offset, new Uint32Array(size).fill(word));
      }
    },
    read(place: Place, dtype: TensorSpec['dtype']): TypedArray {
      const bytes = joined(
        place,
        partsOf(place).map(({ buffer, offset, size }) => (size === 0 ? none : read(buffer, size * 4, offset))),
      );
      return valuesOf(place, dtype, bytes);
    },
    async readLater(place: Place, dtype: TensorSpec['dtype']): Promise<TypedArray> {
      const parts: ArrayBuffer[] = [];
      for (const { buffer, offset, size } of partsOf(place)) {
        parts.push(size === 0 ? none : await readLater(buffer, size * 4, offset));
      }
      return valuesOf(place, dtype, joined(place, parts));
    },
  };
}

/** Values as the card stores them: bool in 4 bytes. */
export function words(values: TypedArray): Uint32Array<ArrayBuffer> {
  if (values instanceof Uint8Array) return Uint32Array.from(values);
  return new Uint32Array(values.buffer as ArrayBuffer, values.byteOffset, values.length);
}

/** Values as packed places store them: two in a word, the first in its lower half. */
function pairs(values: Float32Array, form: HalfForm): Uint32Array<ArrayBuffer> {
  const halves = new Uint16Array(2 * Math.ceil(values.length / 2));
  toHalves(values, halfTypes[form], halves);
  return new Uint32Array(halves.buffer);
}

function valuesOf({ packed, size }: Place, dtype: TensorSpec['dtype'], bytes: ArrayBuffer): TypedArray {
  if (!packed) return typedValues(dtype, bytes);
  const wide = float16Values();
  const widen = packed === 'bf16' ? (half: number) => half << 16 : (half: number) => wide[half]!;
  return new Float32Array(Int32Array.from(new Uint16Array(bytes, 0, size), widen).buffer);
}

/** The values of a dtype in words. */
export function typedValues(dtype: TensorSpec['dtype'], bytes: ArrayBuffer): TypedArray {
  if (dtype === 'float32') return new Float32Array(bytes);
  return dtype === 'int32' ? new Int32Array(bytes) : Uint8Array.from(new Int32Array(bytes));
}
