/** @file The seeds of `--seeds`: `1..5`, `1,3,7`, or both: `1..3,7`. */

/** Protects against a mistyped range, which could ask for millions of runs. */
const maxSeeds = 1000;

/** @returns the seeds in the given order, or an error message without the flag. */
export function parseSeeds(text: string): readonly number[] | string {
  const seeds: number[] = [];
  for (const part of text.split(',')) {
    const [, first, last = first] = /^\s*(\d{1,9})\s*(?:\.\.\s*(\d{1,9})\s*)?$/.exec(part) ?? [];
    if (first === undefined || Number(last) < Number(first)) {
      return `expected seeds such as 1..5 or 1,3,7, found '${text}'`;
    }
    if (Number(last) - Number(first) + seeds.length >= maxSeeds)
      return `expected at most ${maxSeeds} seeds, found '${text}'`;
    for (let seed = Number(first); seed <= Number(last); seed++) seeds.push(seed);
  }
  return new Set(seeds).size < seeds.length ? `expected different seeds, found '${text}'` : seeds;
}
