/**
 * @file Seeded random damage for fuzz tests. A run without settings is the same every time;
 * TINYZERO_FUZZ_SECONDS makes it run that long with new seeds, and a failure names its seed.
 */

/** Mulberry32 (Tommy Ettinger, public domain): enough for choosing damage. Uniform on [0, 1). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Calls `attempt` with one generator per seed; `seeds` of them, or for the time that the environment sets. */
export function fuzz(seeds: number, attempt: (random: () => number, seed: number) => void): void {
  const until = performance.now() + 1000 * Number(process.env.TINYZERO_FUZZ_SECONDS ?? 0);
  for (let seed = 0; seed < seeds || performance.now() < until; seed += 1) {
    try {
      attempt(uniform(seed), seed);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
}

/** A copy of `bytes` with a few flipped, cut out, repeated or cut off. */
export function damage(bytes: Uint8Array, random: () => number): Uint8Array {
  let result = Buffer.from(bytes);
  const at = () => Math.floor(random() * (result.length + 1));
  for (let count = 1 + Math.floor(random() * 4); count > 0; count -= 1) {
    const [begin, end] = [at(), at()].sort((a, b) => a - b) as [number, number];
    const kind = random();
    if (kind < 0.5 && result.length > 0) result[Math.min(begin, result.length - 1)] = Math.floor(random() * 256);
    else if (kind < 0.65) result = Buffer.concat([result.subarray(0, begin), result.subarray(end)]);
    else if (kind < 0.8) result = Buffer.concat([result.subarray(0, end), result.subarray(begin)]);
    else if (kind < 0.9) result = result.subarray(0, begin);
    else result = Buffer.concat([result, Buffer.from('{"[]}:,0-9e999"')]);
  }
  return result;
}

/** One of `choices`. */
export function pick<T>(choices: readonly T[], random: () => number): T {
  return choices[Math.floor(random() * choices.length)]!;
}

/** A copy of `bytes` with one bit flipped. */
export function flipBit(bytes: Uint8Array, random: () => number): Uint8Array {
  const result = Buffer.from(bytes);
  const bit = Math.floor(random() * 8 * result.length);
  result[bit >> 3]! ^= 1 << (bit & 7);
  return result;
}
