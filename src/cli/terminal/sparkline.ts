/** @file A row of numbers as a row of characters, each higher or lower. */
import { mean } from '../../util/statistics.js';

const levels = [...'▁▂▃▄▅▆▇█'];

/**
 * `values`, from 0 to 1, in at most `width` characters; of more values each character is the mean of some that follow each
 * other.
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
