/** @file Sizes of workgroups and tiles that suit a card. */
import type { AdapterFacts } from '../webgpu/device.js';

export interface Tuning {
  /** Most threads of a workgroup; 1 for a software renderer, where each barrier switches between all threads. */
  readonly threads: number;
  /** Bytes that the threads of a workgroup may share. */
  readonly sharedBytes: number;
  /** Workgroups that a large card needs; fewer leave parts of it idle. */
  readonly groups: number;
  /** Up to this many rows, reading the right factor takes all of a product's time, and every thread keeps a sum per row. */
  readonly fewRows: number;
  /** For products of more rows: large tiles read the factors fewer times, small ones give more workgroups and threads work. */
  readonly tiles: readonly Tile[];
}

/** What a workgroup computes of a product: rows and columns of the result. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  /** Rows and columns of a thread: 4, or 8 in halves that are half a tile apart. */
  readonly own: 4 | 8;
  /** Groups of threads that divide the sum, and the steps of the sum that each takes between two barriers. */
  readonly slices: number;
  readonly depth: number;
}

export const threadsOf = ({ rows, columns, own, slices }: Tile): number => (rows / own) * (columns / own) * slices;

/** Bytes of both factors' parts, one vector longer per step than needed, and of the sums of one slice. */
export function sharedBytes(tile: Tile): number {
  const { rows, columns, slices, depth } = tile;
  const factors = slices * depth * (rows / 4 + 1 + columns / 4 + 1);
  return 16 * (factors + (slices > 1 ? (rows * columns) / 4 : 0));
}

const tiles: readonly Tile[] = [
  { rows: 128, columns: 128, own: 8, slices: 1, depth: 8 },
  { rows: 64, columns: 64, own: 4, slices: 1, depth: 16 },
  { rows: 32, columns: 64, own: 4, slices: 2, depth: 8 },
  { rows: 32, columns: 32, own: 4, slices: 4, depth: 8 },
  { rows: 16, columns: 32, own: 4, slices: 8, depth: 4 },
  { rows: 16, columns: 16, own: 4, slices: 16, depth: 4 },
];

/** More threads than 256 would leave each too few registers. */
const mostThreads = 256;

export function tuningOf({ software, maxThreads, maxSharedBytes }: AdapterFacts): Tuning {
  const threads = software ? 1 : Math.min(mostThreads, maxThreads);
  return { threads, sharedBytes: maxSharedBytes, groups: 128, fewRows: 4, tiles };
}

/** Threads that share a row of `width` elements: a power of two. */
export function rowThreads({ threads }: Tuning, width: number): number {
  const fewest = 64;
  let count = Math.min(fewest, threads);
  while (count < threads && count * 4 < width) count *= 2;
  return count;
}
