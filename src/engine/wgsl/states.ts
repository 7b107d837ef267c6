/** @file States on the card: their places in as few buffers as the card allows, and copies in and out. */
import type { TypedArray } from '../dtype.js';
import type { ProgramSpec } from '../program.js';
import { sizeOf } from '../shape.js';
import type { WebGpuDevice } from '../webgpu/device.js';
import { type Place, piecesOf } from './kernel.js';
import { placeOf } from './memory.js';

/** Places in buffers of at most `most` elements; a larger tensor is cut into pieces. `elements`: of each buffer. */
export function placeStates(state: ProgramSpec['state'], most: number) {
  const elements: number[] = [];
  const places = new Map<string, Place>();
  const add = (size: number): Place => {
    const rounded = Math.ceil(Math.max(size, 1) / 4) * 4;
    let arena = elements.length - 1;
    if (arena < 0 || elements[arena]! + rounded > most) arena = elements.push(0) - 1;
    const place = { buffer: `state${arena}`, offset: elements[arena]!, size };
    elements[arena]! += rounded;
    return place;
  };
  for (const [name, { shape }] of Object.entries(state)) places.set(name, placeOf(sizeOf(shape), most, add));
  return { places, elements };
}

/** Copies of states. @param buffers by name. */
export function stateCopies({ device, read, readLater }: WebGpuDevice, buffers: ReadonlyMap<string, GPUBuffer>) {
  const partsOf = (place: Place) => {
    let at = 0;
    return piecesOf(place).map(({ buffer, offset, size }) => {
      const part = { buffer: buffers.get(buffer)!, offset: offset * 4, at, size };
      at += size;
      return part;
    });
  };
  const joined = (place: Place, parts: readonly ArrayBuffer[]): ArrayBuffer => {
    if (parts.length === 1) return parts[0]!;
    const whole = new Uint8Array(place.size * 4);
    let at = 0;
    for (const part of parts) {
      whole.set(new Uint8Array(part), at);
      at += part.byteLength;
    }
    return whole.buffer;
  };
  const none = new ArrayBuffer(0);
  return {
    write(place: Place, values: Uint32Array<ArrayBuffer>): void {
      for (const { buffer, offset, at, size } of partsOf(place))
        device.queue.writeBuffer(buffer, offset, values, at, size);
    },
    fill(place: Place, word: number): void {
      for (const { buffer, offset, size } of partsOf(place)) {
        if (word === 0) {
          const encoder = device.createCommandEncoder();
          encoder.clearBuffer(buffer, offset, size * 4);
          device.queue.submit([encoder.finish()]);
        } else device.queue.writeBuffer(buffer, offset, new Uint32Array(size).fill(word));
      }
    },
    read(place: Place): ArrayBuffer {
      return joined(
        place,
        partsOf(place).map(({ buffer, offset, size }) => (size === 0 ? none : read(buffer, size * 4, offset))),
      );
    },
    async readLater(place: Place): Promise<ArrayBuffer> {
      const parts: ArrayBuffer[] = [];
      for (const { buffer, offset, size } of partsOf(place)) {
        parts.push(size === 0 ? none : await readLater(buffer, size * 4, offset));
      }
      return joined(place, parts);
    },
  };
}

/** Values as the card stores them: bool in 4 bytes. */
export function words(values: TypedArray): Uint32Array<ArrayBuffer> {
  if (values instanceof Uint8Array) return Uint32Array.from(values);
  return new Uint32Array(values.buffer as ArrayBuffer, values.byteOffset, values.length);
}
