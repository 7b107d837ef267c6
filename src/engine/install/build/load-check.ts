/**
 * @file Runs in a separate process, so that a crash, for example by an instruction that the processor lacks, ends only this process.
 *
 * `addon PATH [KERNELS]`: loads an addon, adds two vectors, loads the addon with tinyzero's kernels if its path is given, and prints
 * TensorFlow's version and the number of these kernels as JSON. `libraries PATH...`: opens shared libraries; the first that does not
 * open is named on standard error, with the loader's reason, and the exit code is 1.
 */
import { createRequire } from 'node:module';

/** The parts of the addon that are used here. */
interface Binding {
  readonly TF_Version: string;
  readonly TF_FLOAT: number;
  readonly TF_ATTR_TYPE: number;
  createTensor(shape: number[], dtype: number, values: Float32Array): number;
  executeOp(name: string, attributes: object[], inputs: number[], outputs: number): { id: number }[];
  tensorDataSync(id: number): Float32Array;
}

const [kind, ...paths] = process.argv.slice(2);
if (kind === 'addon') checkAddon(paths);
else openLibraries(paths);

function checkAddon([path = '', kernelsPath]: readonly string[]): void {
  const require = createRequire(import.meta.url);
  const binding = require(path) as Binding;
  const one = binding.createTensor([3], binding.TF_FLOAT, Float32Array.of(1, 2, 3));
  const type = { name: 'T', type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT };
  const [sum] = binding.executeOp('AddV2', [type], [one, one], 1);
  const values = sum === undefined ? [] : [...binding.tensorDataSync(sum.id)];
  if (values.join() !== '2,4,6') throw new Error(`1+1, 2+2, 3+3 gave ${values.join(', ')}`);
  const kernels = kernelsPath === undefined ? undefined : (require(kernelsPath) as { ops: string[] });
  process.stdout.write(`${JSON.stringify({ tensorflow: binding.TF_Version, ops: kernels?.ops.length ?? 0 })}\n`);
}

function openLibraries(libraries: readonly string[]): void {
  for (const path of libraries) {
    try {
      process.dlopen({ exports: {} }, path);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      // The library opened; it just is not a Node addon.
      if (/did not self-register/.test(message)) continue;
      process.stderr.write(`${message.split('\n')[0]}\n`);
      process.exit(1);
    }
  }
}
