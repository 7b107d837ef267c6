/**
 * @file The available engines and precisions, and other choices that options offer. Loads no tensor library, so that options and commands can import it.
 */

/** `tensorflow`: native, compiled. `webgpu`: any graphics card. `wasm`: WebAssembly, op by op, on every machine. */
export const engineNames = ['tensorflow', 'webgpu', 'wasm'] as const;
export type EngineName = (typeof engineNames)[number];
/** What computed a run: an engine of this machine, or a server. */
export type RunEngine = EngineName | 'server';

/** Values of `--engine`; `auto`: `tensorflow` if installed or installable, else `webgpu` if there is a card, else `wasm`. */
export const engineSettings = ['auto', ...engineNames] as const;
export type EngineSetting = (typeof engineSettings)[number];

/** Precision of the operands of matrix products: float32, or rounded to bfloat16. */
export const precisions = ['f32', 'bf16'] as const;
export type Precision = (typeof precisions)[number];

/** How the sampler's large matrices are stored: as the precision says, or as bytes with a scale per row. */
export const samplerWeightChoices = ['full', 'int8'] as const;
export type SamplerWeights = (typeof samplerWeightChoices)[number];

/**
 * Weights that training leaves as they are. `embeddings`: those of the tokens, and the output layer. `mlp`: these, and the MLPs of
 * all layers, so that only attention and norms are trained.
 */
export const freezeChoices = ['none', 'embeddings', 'mlp'] as const;
export type Freeze = (typeof freezeChoices)[number];

/** How the large matrices of a sampler are stored. */
export type WeightForm = Precision | 'int8';

export function weightForm(precision: Precision, weights: SamplerWeights = 'full'): WeightForm {
  return weights === 'int8' ? weights : precision;
}

/** The effect of `--precision bf16` on a processor without bfloat16 instructions, as a clause for notices. */
export const bf16WithoutInstructions =
  'this processor has no bfloat16 instructions: --precision bf16 halves the memory of sampling weights, ' +
  'but products of many rows are no faster than with f32';

/** Bytes of memory assumed for a GPU whose driver does not report its memory. */
export const unknownGpuBytes = 8e9;
