/**
 * @file Shortens long series for drawing: curves by averaging neighbouring steps, lists by keeping every n-th item.
 */
/** Consecutive items that are drawn as one. */
export interface Bin<T> {
  readonly first: T;
  readonly last: T;
  readonly items: readonly T[];
}

/** `items` in order, in at most `limit` bins of equal size, of which the last may be smaller. */
export function binned<T>(items: readonly T[], limit: number): Bin<T>[] {
  return binsOf(items, Math.max(1, Math.ceil(items.length / limit)));
}

/** `items` in order, in bins of `size` items, of which the last may be smaller. */
export function binsOf<T>(items: readonly T[], size: number): Bin<T>[] {
  const bins: Bin<T>[] = [];
  for (let start = 0; start < items.length; start += size) {
    const part = items.slice(start, start + size);
    bins.push({ first: part[0]!, last: part.at(-1)!, items: part });
  }
  return bins;
}

/** Keeps evenly spaced items of a stream of unknown length: between `limit` and twice as many. */
export function evenly<T>(limit: number): { add(item: T): void; readonly items: readonly T[] } {
  let stride = 1;
  let seen = 0;
  let items: T[] = [];
  return {
    add(item) {
      if (seen % stride === 0) items.push(item);
      seen++;
      if (items.length < 2 * limit) return;
      items = items.filter((_, i) => i % 2 === 0);
      stride *= 2;
    },
    get items() {
      return items;
    },
  };
}
