/** @file Places temporary results in one buffer, in which results with disjoint lifetimes share memory. */
import type { Dispatch, Place } from './kernel.js';

/** Offsets are multiples of 4 elements, so that copies of whole results are aligned. */
const alignment = 4;

interface Lifetime {
  readonly place: Place;
  readonly first: number;
  readonly last: number;
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

/**
 * Gives every temporary result of `dispatches` an offset; those in `kept` are needed until the end.
 *
 * @returns elements of the buffer.
 */
export function placeTemps(dispatches: readonly Dispatch[], kept: readonly Place[]): number {
  const lifetimes = new Map<Place, { place: Place; first: number; last: number }>();
  dispatches.forEach(({ slots, reads = [] }, step) => {
    for (const each of [...slots, ...reads]) {
      const slot = each.whole ?? each;
      if (slot.buffer !== 'temps') continue;
      const known = lifetimes.get(slot);
      if (known === undefined) lifetimes.set(slot, { place: slot, first: step, last: step });
      else known.last = step;
    }
  });
  for (const each of kept) {
    const known = lifetimes.get(each.whole ?? each);
    if (known !== undefined) known.last = dispatches.length;
  }
  return placeAll([...lifetimes.values()]);
}

/**
 * Gives every place an offset.
 *
 * @returns elements of the buffer.
 */
function placeAll(lifetimes: readonly Lifetime[]): number {
  let end = 0;
  /** Free stretches in order, without neighbours that touch. */
  let free: { offset: number; size: number }[] = [];
  const ending = new Map<number, Place[]>();
  const starts = [...lifetimes].sort((a, b) => a.first - b.first || b.place.size - a.place.size);
  let time = -1;
  for (const { place, first, last } of starts) {
    // What ended before this step is free; operands of this step are not.
    for (; time < first - 1; time += 1) {
      for (const ended of ending.get(time + 1) ?? []) free = release(free, ended.offset, rounded(ended.size));
    }
    const size = rounded(place.size);
    const fits = free.filter((stretch) => stretch.size >= size).sort((a, b) => a.size - b.size)[0];
    if (fits === undefined) {
      const tail = free.at(-1);
      if (tail !== undefined && tail.offset + tail.size === end) {
        free.pop();
        place.offset = tail.offset;
        end = tail.offset + size;
      } else {
        place.offset = end;
        end += size;
      }
    } else {
      place.offset = fits.offset;
      fits.offset += size;
      fits.size -= size;
      free = free.filter((stretch) => stretch.size > 0);
    }
    ending.set(last, [...(ending.get(last) ?? []), place]);
  }
  return end;
}

const rounded = (size: number) => Math.ceil(Math.max(size, 1) / alignment) * alignment;

function release(free: { offset: number; size: number }[], offset: number, size: number) {
  const all = [...free, { offset, size }].sort((a, b) => a.offset - b.offset);
  const merged: { offset: number; size: number }[] = [];
  for (const stretch of all) {
    const previous = merged.at(-1);
    if (previous !== undefined && previous.offset + previous.size === stretch.offset) previous.size += stretch.size;
    else merged.push({ ...stretch });
  }
  return merged;
}
