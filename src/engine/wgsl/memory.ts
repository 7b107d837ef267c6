/** @file Places temporary results in one buffer, in which results with disjoint lifetimes share memory. */
import type { Place } from './kernel.js';

/** Offsets are multiples of 4 elements, so that copies of whole results are aligned. */
const alignment = 4;

interface Lifetime {
  readonly place: Place;
  readonly first: number;
  readonly last: number;
}

/**
 * Gives every place an offset.
 *
 * @returns elements of the buffer.
 */
export function placeAll(lifetimes: readonly Lifetime[]): number {
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
