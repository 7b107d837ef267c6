/**
 * @file The engines and precisions to choose from. Loads no tensor library, so that options and commands can import it.
 */

/** `tensorflow`: native, compiled. `wasm`: WebAssembly, op by op, on every machine. */
export type EngineName = 'tensorflow' | 'wasm';

/** Values of `--engine`; `auto` takes `tensorflow` where it is or can be installed. */
export const engineSettings = ['auto', 'tensorflow', 'wasm'] as const satisfies readonly ('auto' | EngineName)[];
export type EngineSetting = (typeof engineSettings)[number];

/** What the operands of matrix products are rounded to: nothing, or bfloat16. */
export const precisions = ['f32', 'bf16'] as const;
export type Precision = (typeof precisions)[number];

/** What `--precision bf16` brings on a processor without instructions for it; a clause, for notices. */
export const bf16WithoutInstructions =
  'this processor has no bfloat16 instructions: --precision bf16 halves the memory of sampling weights, ' +
  'but products of many rows are no faster than with f32';
