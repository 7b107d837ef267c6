/**
 * @file Memory for the state of a program on the processor. It holds float32, and weights that are stored in 2 bytes and never
 * change. If a fed array is aligned, TensorFlow uses it as the variable's memory, without a copy, and kernels that update in
 * place change the array. TensorFlow's own allocator rounds sizes up and puts short-lived tensors between lasting ones, which
 * costs a tenth more memory when all weights of a model are trained, and a quarter more for frozen weights of 1.5 billion
 * (docs/log.md). Pages that were never written, such as moments before the first update, take no memory.
 */
import { alignedMemory } from '../../util/machine.js';
import { bytesPerElement, toHalves } from '../dtype.js';
import type { ProgramSpec, StateSpec, TensorSpec } from '../program.js';
import { sizeOf } from '../shape.js';
import { fedType, storedType } from './stored.js';

/** The memory of a state. It must live as long as the variable. */
export interface HeldState {
  /** Dtype and shape of the arrays to be fed. */
  readonly type: TensorSpec;
  /** The array with these values. */
  written(values: Float32Array): Float32Array | Int32Array;
  /** The same with every element equal. */
  filled(value: number): Float32Array | Int32Array;
}

const alignment = 64;
/** Most bytes of one piece, unless a tensor is larger. WebAssembly allows four times as many. */
const pieceBytes = 2 ** 30;

/** Fewest bytes of state that are worth it: each WebAssembly memory reserves gigabytes of address space. */
const leastBytes = 2 ** 20;

/**
 * The memory for `state`, by name; none if there is little state, or if the system refuses the memory.
 *
 * @param assigned names of the states that functions assign.
 */
export function stateMemory(
  state: ProgramSpec['state'],
  assigned: ReadonlySet<string>,
): ReadonlyMap<string, HeldState> {
  const places = new Map<string, HeldState>();
  const held = Object.entries(state).filter(([name, spec]) => isHeld(spec, assigned.has(name)));
  if (held.reduce((sum, [, spec]) => sum + bytesOf(spec), 0) < leastBytes) return places;
  const pieces: { size: number; readonly members: { name: string; start: number; spec: StateSpec }[] }[] = [];
  for (const [name, spec] of held) {
    const bytes = Math.ceil(bytesOf(spec) / alignment) * alignment;
    let piece = pieces.at(-1);
    if (piece === undefined || piece.size + bytes > pieceBytes) {
      piece = { size: 0, members: [] };
      pieces.push(piece);
    }
    piece.members.push({ name, start: piece.size, spec });
    piece.size += bytes;
  }
  try {
    for (const { size, members } of pieces) {
      const buffer = alignedMemory(size);
      for (const { name, start, spec } of members) places.set(name, heldState(spec, buffer, start));
    }
  } catch (error) {
    if (error instanceof RangeError) return new Map();
    throw error;
  }
  return places;
}

function heldState(spec: StateSpec, buffer: ArrayBuffer, start: number): HeldState {
  const { fed, set, fill } = viewOf(spec, buffer, start);
  /** Whether the memory may hold nonzero values. */
  let isUsed = false;
  return {
    type: fedType(spec),
    written(values) {
      isUsed = true;
      set(values);
      return fed;
    },
    filled(value) {
      if (isUsed || value !== 0) fill(value);
      isUsed = true;
      return fed;
    },
  };
}

interface View {
  readonly fed: Float32Array | Int32Array;
  set(values: Float32Array): void;
  fill(value: number): void;
}

function viewOf(spec: StateSpec, buffer: ArrayBuffer, start: number): View {
  const { dtype } = storedType(spec);
  const length = sizeOf(spec.shape);
  if (dtype !== 'bfloat16' && dtype !== 'float16') {
    const fed = new Float32Array(buffer, start, length);
    return { fed, set: (values) => fed.set(values), fill: (value) => fed.fill(value) };
  }
  const halves = new Uint16Array(buffer, start, length);
  const set = (values: Float32Array) => toHalves(values, dtype, halves);
  return {
    fed: new Int32Array(buffer, start, length / 2),
    set,
    fill(value) {
      set(Float32Array.of(value));
      halves.fill(halves[0]!);
    },
  };
}

const bytesOf = (spec: StateSpec) => bytesPerElement[storedType(spec).dtype] * sizeOf(spec.shape);

/** State in 2 bytes is not updated in place, and is fed as pairs. */
function isHeld({ dtype, shape, stored }: StateSpec, isAssigned: boolean): boolean {
  if (dtype !== 'float32') return false;
  return stored === undefined || (stored !== 'int8' && !isAssigned && sizeOf(shape) % 2 === 0);
}
