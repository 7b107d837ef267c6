/**
 * @file Memory for the float32 state of a program on the processor. If a fed array is aligned, TensorFlow uses it as the
 * variable's memory, without a copy, and kernels that update in place change the array. TensorFlow's own allocator rounds
 * sizes up and puts short-lived tensors between lasting ones, which costs a tenth more memory when all weights of a model
 * are trained (docs/log.md). Pages that were never written, such as moments before the first update, take no memory.
 */
import { alignedMemory } from '../../util/machine.js';
import type { ProgramSpec, StateSpec } from '../program.js';
import { sizeOf } from '../shape.js';

export interface StateMemory {
  /** Names of the states that it holds. */
  readonly names: ReadonlySet<string>;
  /** The array of a state with these values. It must live as long as the variable. */
  written(name: string, values: ArrayLike<number>): Float32Array;
  /** The same with every element equal. */
  filled(name: string, value: number): Float32Array;
}

const alignment = 64;
/** Most bytes of one piece, unless a tensor is larger. WebAssembly allows four times as many. */
const pieceBytes = 2 ** 30;

/** Fewest bytes of state that are worth it: each WebAssembly memory reserves gigabytes of address space. */
const leastBytes = 2 ** 20;

/** The memory for `state`; undefined if there is little state, or if the system refuses the memory. */
export function stateMemory(state: ProgramSpec['state']): StateMemory | undefined {
  const held = Object.entries(state).filter(([, spec]) => isHeld(spec));
  if (held.reduce((sum, [, { shape }]) => sum + 4 * sizeOf(shape), 0) < leastBytes) return undefined;
  const pieces: { size: number; readonly members: { name: string; start: number; length: number }[] }[] = [];
  for (const [name, { shape }] of held) {
    const length = sizeOf(shape);
    const bytes = Math.ceil((4 * length) / alignment) * alignment;
    let piece = pieces.at(-1);
    if (piece === undefined || piece.size + bytes > pieceBytes) {
      piece = { size: 0, members: [] };
      pieces.push(piece);
    }
    piece.members.push({ name, start: piece.size, length });
    piece.size += bytes;
  }
  const arrays = new Map<string, Float32Array>();
  try {
    for (const { size, members } of pieces) {
      const buffer = alignedMemory(size);
      for (const { name, start, length } of members) arrays.set(name, new Float32Array(buffer, start, length));
    }
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
  /** States whose memory may hold nonzero values. */
  const used = new Set<string>();
  const use = (name: string): Float32Array => {
    used.add(name);
    return arrays.get(name)!;
  };
  return {
    names: new Set(arrays.keys()),
    written(name, values) {
      const array = use(name);
      array.set(values);
      return array;
    },
    filled: (name, value) => (value === 0 && !used.has(name) ? use(name) : use(name).fill(value)),
  };
}

function isHeld({ dtype, stored }: StateSpec): boolean {
  return dtype === 'float32' && stored === undefined;
}
