/**
 * @file Places constants, inputs and temporary results. Temporary results with disjoint lifetimes share memory. They are in
 * one buffer, or in several if one would be larger than the card lets a shader use.
 */
import { type Dispatch, type Place, piecesOf } from './kernel.js';

/** Offsets are multiples of 4 elements, so that copies of whole results are aligned. */
const alignment = 4;

interface Lifetime {
  readonly place: Place;
  readonly first: number;
  readonly last: number;
}

/** A word of a constant: a number, or the offset of a place, known once all places have offsets. */
export type Word = number | Place;

/** Constants that are not uniform, one after the other. */
export function openConstants() {
  const all: (readonly Word[])[] = [];
  let elements = 0;
  return {
    add(words: readonly Word[]): Place {
      const place = { buffer: 'constants', offset: elements, size: words.length };
      all.push(words);
      elements += words.length;
      return place;
    },
    /** Their words, once all places have offsets. */
    table(): Uint32Array<ArrayBuffer> {
      const table = new Uint32Array(Math.max(elements, 4));
      let at = 0;
      for (const words of all) for (const word of words) table[at++] = typeof word === 'number' ? word : word.offset;
      return table;
    },
  };
}

/** Places inputs of these sizes one after the other. */
export function placeInputs(sizes: readonly number[]): { readonly places: Place[]; readonly elements: number } {
  let elements = 0;
  const places = sizes.map((size) => {
    const place = { buffer: 'inputs', offset: elements, size };
    elements += rounded(size);
    return place;
  });
  return { places, elements };
}

/** A place for a tensor in pieces of at most `most` elements. */
export function placeOf(size: number, most: number, make: (size: number) => Place): Place {
  if (size <= most) return make(size);
  const count = Math.ceil(size / most);
  const pieces = Array.from({ length: count }, (_, k) => make(k < count - 1 ? most : size - k * most));
  return { buffer: 'none', offset: -1, size, pieces };
}

/** Makes temporary results in pieces of at most `most` elements. @param assigned the buffer of each piece, if one is not enough for all. */
export function openTemps(most: number, assigned?: readonly string[]) {
  const temps: Place[] = [];
  const make = (size: number): Place => {
    const place = { buffer: assigned?.[temps.length] ?? 'temps0', offset: -1, size };
    temps.push(place);
    return place;
  };
  const buffers = assigned === undefined ? ['temps0'] : [...new Set(assigned)].sort();
  return { temps, buffers, temp: (size: number): Place => placeOf(size, most, make) };
}

/**
 * Gives every temporary result of `dispatches` an offset; those in `kept` are needed until the end.
 *
 * @param most elements of a buffer.
 * @param isAssigned whether the results are in their buffers already; otherwise each gets the first that has room.
 * @returns elements of each buffer.
 */
export function placeTemps(
  dispatches: readonly Dispatch[],
  kept: readonly Place[],
  most: number,
  isAssigned: boolean,
): number[] {
  const lifetimes = new Map<Place, { place: Place; first: number; last: number }>();
  dispatches.forEach(({ slots, reads = [] }, step) => {
    for (const each of [...slots, ...reads]) {
      const slot = each.whole ?? each;
      if (!isTemp(slot)) continue;
      const known = lifetimes.get(slot);
      if (known === undefined) lifetimes.set(slot, { place: slot, first: step, last: step });
      else known.last = step;
    }
  });
  for (const each of kept.flatMap(piecesOf)) {
    const known = lifetimes.get(each.whole ?? each);
    if (known !== undefined) known.last = dispatches.length;
  }
  return placeAll([...lifetimes.values()], most, isAssigned);
}

export const isTemp = (place: Place): boolean => piecesOf(place)[0]!.buffer.startsWith('temps');

/** A buffer that is being filled. */
interface Filling {
  end: number;
  /** Free stretches in order, without neighbours that touch. */
  free: { offset: number; size: number }[];
}

function placeAll(lifetimes: readonly Lifetime[], most: number, isAssigned: boolean): number[] {
  const fillings: Filling[] = [];
  const ending = new Map<number, Place[]>();
  const starts = [...lifetimes].sort((a, b) => a.first - b.first || b.place.size - a.place.size);
  const numberOf = ({ buffer }: Place) => Number(buffer.slice('temps'.length));
  let time = -1;
  for (const { place, first, last } of starts) {
    // Results last used before this step are free; operands of this step are not.
    for (; time < first - 1; time += 1) {
      for (const ended of ending.get(time + 1) ?? [])
        release(fillings[numberOf(ended)]!, ended.offset, rounded(ended.size));
    }
    let number = isAssigned ? numberOf(place) : 0;
    for (; ; number += 1) {
      while (fillings.length <= number) fillings.push({ end: 0, free: [] });
      const offset = take(fillings[number]!, rounded(place.size), isAssigned ? Number.POSITIVE_INFINITY : most);
      if (offset === undefined) continue;
      place.offset = offset;
      break;
    }
    place.buffer = `temps${number}`;
    ending.set(last, [...(ending.get(last) ?? []), place]);
  }
  return fillings.map(({ end }) => end);
}

/** The offset of the smallest free stretch that fits, otherwise the end; undefined if the buffer would exceed `most`. */
function take(filling: Filling, size: number, most: number): number | undefined {
  const fits = filling.free.filter((stretch) => stretch.size >= size).sort((a, b) => a.size - b.size)[0];
  if (fits !== undefined) {
    const { offset } = fits;
    fits.offset += size;
    fits.size -= size;
    filling.free = filling.free.filter((stretch) => stretch.size > 0);
    return offset;
  }
  const tail = filling.free.at(-1);
  const isLast = tail !== undefined && tail.offset + tail.size === filling.end;
  const offset = isLast ? tail.offset : filling.end;
  if (offset + size > most && offset > 0) return undefined;
  if (isLast) filling.free.pop();
  filling.end = offset + size;
  return offset;
}

const rounded = (size: number) => Math.ceil(Math.max(size, 1) / alignment) * alignment;

function release(filling: Filling, offset: number, size: number): void {
  const all = [...filling.free, { offset, size }].sort((a, b) => a.offset - b.offset);
  const merged: { offset: number; size: number }[] = [];
  for (const stretch of all) {
    const previous = merged.at(-1);
    if (previous !== undefined && previous.offset + previous.size === stretch.offset) previous.size += stretch.size;
    else merged.push({ ...stretch });
  }
  filling.free = merged;
}
