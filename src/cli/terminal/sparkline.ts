/** @file Draws a series of numbers as a row of block characters. */
import { mean } from '../../util/statistics.js';

const levels = [...'▁▂▃▄▅▆▇█'];

/**
 * Draws `values`, from 0 to 1, in at most `width` characters. If there are more values, each character shows the mean of
 * several consecutive ones.
 */
export function sparkline(values: readonly number[], width: number): string {
  const cells = Math.max(0, Math.min(width, values.length));
  return Array.from({ length: cells }, (_, cell) => {
    const from = Math.floor((cell * values.length) / cells);
    const to = Math.floor(((cell + 1) * values.length) / cells);
    const level = Math.floor(mean(values.slice(from, to)) * levels.length);
    return levels[Math.min(levels.length - 1, Math.max(0, level))]!;
  }).join('');
}
