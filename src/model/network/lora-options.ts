/** @file Settings and names of adapters, and merging on plain arrays. Separate from lora.ts, to import no tensor library. */

/** The linear layers that can have adapters, by the last part of their name. */
export const loraTargets = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;
export type LoraTarget = (typeof loraTargets)[number];

export interface LoraOptions {
  readonly rank: number;
  /** The adapter's output is multiplied by alpha / rank. */
  readonly alpha: number;
  readonly targets: readonly LoraTarget[];
}

/** Names of the adapter of the linear layer `module`. */
export const adapterNames = (module: string) => ({ a: `${module}.lora_A.weight`, b: `${module}.lora_B.weight` });

/** W + (alpha / r) B A, row-major. Computed in float64 and rounded once. */
export function mergedWeight(
  weight: Float32Array,
  a: Float32Array,
  b: Float32Array,
  { alpha, rank }: Pick<LoraOptions, 'alpha' | 'rank'>,
): Float32Array {
  const [outWidth, inWidth] = [b.length / rank, a.length / rank];
  const merged = new Float32Array(weight.length);
  const row = new Float64Array(inWidth);
  for (let i = 0; i < outWidth; i += 1) {
    row.fill(0);
    for (let k = 0; k < rank; k += 1) {
      const factor = (alpha / rank) * b[i * rank + k]!;
      if (factor === 0) continue;
      for (let j = 0; j < inWidth; j += 1) row[j]! += factor * a[k * inWidth + j]!;
    }
    for (let j = 0; j < inWidth; j += 1) merged[i * inWidth + j] = weight[i * inWidth + j]! + row[j]!;
  }
  return merged;
}
