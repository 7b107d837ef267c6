/**
 * @file `tinyzero engine install`.
 */

import { installEngine } from '../../engine/install/install.js';
import type { CommonOptionName, OptionValues } from '../../options/table.js';
import { exitCodes } from '../../util/errors.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

export async function run(
  values: OptionValues<'gpu' | 'from' | 'reinstall' | 'json' | CommonOptionName>,
): Promise<number> {
  const { json, quiet, gpu, from, reinstall } = values;
  const result = await interruptible((signal) =>
    installEngine({ gpu, from, force: reinstall }, consoleReporter({ quiet }), signal),
  );
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
      : `TensorFlow ${engine.tensorflow} (${engine.variant}) is ${already ? 'already installed' : 'ready'}: ${engine.folder}`,
  ]);
  return engine === undefined ? exitCodes.failure : exitCodes.ok;
}
