/**
 * @file `tinyzero engine install`.
 */
import type { OptionValues } from '../config.js';
import { installEngine } from '../engine/install/install.js';
import { exitCodes } from '../errors.js';
import { interruptible } from '../run/interrupt.js';
import { consoleReporter } from '../run/progress.js';

export async function run(values: OptionValues<'gpu' | 'from' | 'force' | 'json'>): Promise<number> {
  const { json, ...request } = values;
  const result = await interruptible((signal) => installEngine(request, consoleReporter(), signal));
  const { engine } = result;
  if (json) {
    const { already, attempts } = result;
    const facts = engine && {
      folder: engine.folder,
      tensorflow: engine.tensorflow,
      variant: engine.variant,
      rung: engine.rung,
    };
    process.stdout.write(`${JSON.stringify({ installed: engine !== undefined, already, engine: facts, attempts })}\n`);
  } else if (engine === undefined) {
    process.stdout.write('The native engine cannot be had here: tinyzero runs on WebAssembly (--engine wasm).\n');
  } else {
    const state = result.already ? 'is installed already' : 'is ready';
    process.stdout.write(`TensorFlow ${engine.tensorflow} (${engine.variant}) ${state}: ${engine.folder}\n`);
  }
  return engine === undefined ? exitCodes.failure : exitCodes.ok;
}
