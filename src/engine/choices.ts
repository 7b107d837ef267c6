/**
 * @file The available engines and precisions. Loads no tensor library, so that options and commands can import it.
 */

/** `tensorflow`: native, compiled. `wasm`: WebAssembly, op by op, on every machine. */
export type EngineName = 'tensorflow' | 'wasm';

/** Values of `--engine`; `auto` means `tensorflow` if it is or can be installed, otherwise `wasm`. */
export const engineSettings = ['auto', 'tensorflow', 'wasm'] as const satisfies readonly ('auto' | EngineName)[];
export type EngineSetting = (typeof engineSettings)[number];

/** Precision of the operands of matrix products: float32, or rounded to bfloat16. */
export const precisions = ['f32', 'bf16'] as const;
export type Precision = (typeof precisions)[number];

/** The effect of `--precision bf16` on a processor without bfloat16 instructions, as a clause for notices. */
export const bf16WithoutInstructions =
  'this processor has no bfloat16 instructions: --precision bf16 halves the memory of sampling weights, ' +
  'but products of many rows are no faster than with f32';
