/**
 * @file Memory for the state of a program on the processor. It holds float32, and weights that are stored in 2 bytes and never
 * change. If a fed array is aligned, TensorFlow uses it as the variable's memory, without a copy, and kernels that update in
 * place change the array. TensorFlow's own allocator rounds sizes up and puts short-lived tensors between lasting ones, which
 * costs a tenth more memory when all weights of a model are trained, and a quarter more for frozen weights of 1.5 billion
 * (docs/log.md). Pages that were never written, such as moments before the first update, take no memory.
 */
import { alignedMemory } from '../../util/machine.js';
import { toHalves } from '../dtype.js';
import type { ProgramSpec, StateSpec } from '../program.js';
import { sizeOf } from '../shape.js';

export interface StateMemory {
  /** Names of the states that it holds. */
  readonly names: ReadonlySet<string>;
  /** The array of a state with these values, to be fed. It must live as long as the variable. */
  written(name: string, values: Float32Array): Float32Array | Int32Array;
  /** The same with every element equal. */
  filled(name: string, value: number): Float32Array | Int32Array;
}

const alignment = 64;
/** Most bytes of one piece, unless a tensor is larger. WebAssembly allows four times as many. */
const pieceBytes = 2 ** 30;

/** Fewest bytes of state that are worth it: each WebAssembly memory reserves gigabytes of address space. */
const leastBytes = 2 ** 20;

/**
 * The memory for `state`; undefined if there is little state, or if the system refuses the memory.
 *
 * @param assigned names of the states that functions assign.
 */
export function stateMemory(state: ProgramSpec['state'], assigned: ReadonlySet<string>): StateMemory | undefined {
  const held = Object.entries(state).filter(([name, spec]) => isHeld(spec, assigned.has(name)));
  if (held.reduce((sum, [, spec]) => sum + bytesOf(spec), 0) < leastBytes) return undefined;
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
  const places = new Map<string, Place>();
  try {
    for (const { size, members } of pieces) {
      const buffer = alignedMemory(size);
      for (const { name, start, spec } of members) places.set(name, placeOf(spec, buffer, start));
    }
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
  /** States whose memory may hold nonzero values. */
  const used = new Set<string>();
  const use = (name: string): Place => {
    used.add(name);
    return places.get(name)!;
  };
  return {
    names: new Set(places.keys()),
    written(name, values) {
      const { fed, set } = use(name);
      set(values);
      return fed;
    },
    filled(name, value) {
      const isZero = value === 0 && !used.has(name);
      const { fed, fill } = use(name);
      if (!isZero) fill(value);
      return fed;
    },
  };
}

/** The memory of a state. */
interface Place {
  readonly fed: Float32Array | Int32Array;
  set(values: Float32Array): void;
  fill(value: number): void;
}

function placeOf({ shape, stored }: StateSpec, buffer: ArrayBuffer, start: number): Place {
  const length = sizeOf(shape);
  if (stored === undefined) {
    const fed = new Float32Array(buffer, start, length);
    return { fed, set: (values) => fed.set(values), fill: (value) => fed.fill(value) };
  }
  const halves = new Uint16Array(buffer, start, length);
  const dtype = stored === 'bf16' ? 'bfloat16' : 'float16';
  return {
    fed: new Int32Array(buffer, start, length / 2),
    set: (values) => toHalves(values, dtype, halves),
    fill(value) {
      const one = new Uint16Array(1);
      toHalves(Float32Array.of(value), dtype, one);
      halves.fill(one[0]!);
    },
  };
}

const bytesOf = ({ shape, stored }: StateSpec) => (stored === undefined ? 4 : 2) * sizeOf(shape);

/** State in 2 bytes is not updated in place, and is fed as pairs. */
function isHeld({ dtype, shape, stored }: StateSpec, isAssigned: boolean): boolean {
  if (dtype !== 'float32') return false;
  return stored === undefined || (stored !== 'int8' && !isAssigned && sizeOf(shape) % 2 === 0);
}
