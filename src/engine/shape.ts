/**
 * @file Shape arithmetic: NumPy broadcasting, reductions, element counts; the letters used for dimensions.
 *
 * One alphabet in the whole project: B rows, T positions, V vocabulary, D width, H query heads, K key/value heads,
 * C head width, F feed-forward width, S cached positions.
 */
import type { Tensor } from '@tensorflow/tfjs-core';

export type Shape = readonly number[];

/** `Float<'B T V'>` and `Int<'B T'>` are plain tensors: the letters are for the reader. */
export type Float<_Dimensions extends string> = Tensor;
export type Int<_Dimensions extends string> = Tensor;

type Tuple<Item, Length extends number, Items extends readonly Item[] = []> = Items['length'] extends Length
  ? Items
  : Tuple<Item, Length, readonly [...Items, Item]>;

/** The first `count` items, as sizes of a tensor or inputs of a node. @throws Error if there are fewer. */
export function take<Item, Count extends number>(items: readonly Item[], count: Count): Tuple<Item, Count> {
  if (items.length < count) throw new Error(`expected ${count} items, found ${items.length}`);
  return items as Tuple<Item, Count>;
}

export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const dimension of shape) size *= dimension;
  return size;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dimension, axis) => dimension === b[axis]);
}

/** `[4, 40]`, and `[]` for a scalar. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** NumPy's rule. @throws Error naming both shapes if they do not fit. */
export function broadcastShapes(a: Shape, b: Shape, op: string): number[] {
  const rank = Math.max(a.length, b.length);
  const result: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left !== right && left !== 1 && right !== 1) {
      throw new Error(`${op}: shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast`);
    }
    result.push(left === 1 ? right : left);
  }
  return result;
}

/** Makes an axis counted from the end positive. */
export function normalizeAxis(axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) {
    throw new Error(`axis ${axis} is outside a tensor of rank ${rank}`);
  }
  return axis < 0 ? axis + rank : axis;
}

/** {@link normalizeAxis} of each; without any, all axes. */
export function normalizeAxes(axes: number | readonly number[] | undefined | null, rank: number): number[] {
  if (axes === undefined || axes === null) return Array.from({ length: rank }, (_, index) => index);
  return (typeof axes === 'number' ? [axes] : axes).map((axis) => normalizeAxis(axis, rank));
}

export function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): number[] {
  if (keepDims) return shape.map((dimension, axis) => (axes.includes(axis) ? 1 : dimension));
  return shape.filter((_, axis) => !axes.includes(axis));
}

/** Replaces the one -1 of `target`. @throws Error if the element counts differ. */
export function inferReshape(from: Shape, target: Shape): number[] {
  const size = sizeOf(from);
  const known = target.reduce((product, dimension) => (dimension === -1 ? product : product * dimension), 1);
  const result = target.map((dimension) => (dimension === -1 ? size / known : dimension));
  if (sizeOf(result) !== size || result.some((dimension) => !Number.isInteger(dimension))) {
    throw new Error(`cannot reshape ${formatShape(from)} (${size} elements) to ${formatShape(target)}`);
  }
  return result;
}

/** The letters of a pattern such as `'B T D'`. */
type Letters<Pattern extends string> = Pattern extends `${infer Letter} ${infer Rest}`
  ? Letter | Letters<Rest>
  : Pattern;

/**
 * Checks a tensor at a module boundary. A letter stands for its size in `bound` if it has one there, otherwise for any size:
 * `assertShape('k', k, 'B S K C', assertShape('q', q, 'B T H C'))`.
 *
 * @returns `bound` extended by the sizes of this tensor's letters.
 * @throws Error naming the tensor, the pattern and the shape found.
 */
export function assertShape<
  Pattern extends string,
  Bound extends Readonly<Record<string, number>> = Record<never, number>,
>(
  name: string,
  tensor: { readonly shape: Shape },
  pattern: Pattern,
  bound?: Bound,
): Bound & Readonly<Record<Letters<Pattern>, number>> {
  const sizes: Record<string, number> = { ...bound };
  const letters = pattern.split(' ').filter((letter) => letter !== '');
  const fits =
    letters.length === tensor.shape.length &&
    letters.every((letter, axis) => {
      const size = tensor.shape[axis]!;
      sizes[letter] = /^\d+$/.test(letter) ? Number(letter) : (sizes[letter] ?? size);
      return sizes[letter] === size;
    });
  if (!fits) {
    const expected = letters.map((letter) => (sizes[letter] === undefined ? letter : `${letter}=${sizes[letter]}`));
    throw new Error(`${name}: expected shape [${expected.join(', ')}], found ${formatShape(tensor.shape)}`);
  }
  return sizes as Bound & Record<Letters<Pattern>, number>;
}
