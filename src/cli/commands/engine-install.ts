/**
 * @file `tinyzero engine install`.
 */

import { installEngine } from '../../engine/install/install.js';
import type { CommonOptionName, OptionValues } from '../../options/table.js';
import { exitCodes } from '../../util/errors.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

export async function run(values: OptionValues<'gpu' | 'from' | 'force' | 'json' | CommonOptionName>): Promise<number> {
  const { json, quiet, color: _, ...request } = values;
  const result = await interruptible((signal) => installEngine(request, consoleReporter({ quiet }), signal));
  const { engine } = result;
  const { already, attempts } = result;
  const facts = engine && {
    folder: engine.folder,
    tensorflow: engine.tensorflow,
    variant: engine.variant,
    rung: engine.rung,
  };
  printResult(json, { installed: engine !== undefined, already, engine: facts, attempts }, () => [
    engine === undefined
      ? 'The native engine is unavailable here: tinyzero runs on WebAssembly (--engine wasm).'
      : `TensorFlow ${engine.tensorflow} (${engine.variant}) is ${already ? 'installed already' : 'ready'}: ${engine.folder}`,
  ]);
  return engine === undefined ? exitCodes.failure : exitCodes.ok;
}
