/**
 * @file `tinyzero engine install`, `status` and `remove`.
 */
import { join } from 'node:path';
import { installEngine, removeEngine } from '../../engine/install/install.js';
import { type InstalledEngine, inspectEngine } from '../../engine/install/installed.js';
import { lockHolder } from '../../engine/install/staging.js';
import type { CommonOptionName } from '../../options/names.js';
import type { OptionValues } from '../../options/table.js';
import { exitCodes } from '../../util/errors.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

export async function install(
  values: OptionValues<'gpu' | 'from' | 'reinstall' | 'json' | CommonOptionName>,
): Promise<number> {
  const { json, quiet, gpu, from, reinstall } = values;
  const result = await interruptible((signal) =>
    installEngine({ gpu, from, force: reinstall }, consoleReporter({ quiet, json }), signal),
  );
  const { engine } = result;
  const { already, attempts } = result;
  printResult(json, { installed: engine !== undefined, already, engine: factsOf(engine), attempts }, () => [
    engine === undefined
      ? 'The native engine is unavailable here: tinyzero runs on WebAssembly (--engine wasm).'
      : `TensorFlow ${engine.tensorflow} (${engine.variant}) is ${already ? 'already installed' : 'ready'}: ${engine.folder}`,
  ]);
  return engine === undefined ? exitCodes.failure : exitCodes.ok;
}

export async function status({ json }: OptionValues<'json'>): Promise<number> {
  const { root, engine, broken, leftovers } = inspectEngine();
  const installing = lockHolder(join(root, 'install.lock'));
  printResult(json, { installed: engine !== undefined, engine: factsOf(engine), broken, installing, leftovers }, () => {
    const lines: string[] = [];
    if (engine !== undefined) {
      const { tensorflow, variant, source, folder, manifest } = engine;
      const origin = source === 'wheel' ? 'from the Python package index' : "from tfjs-node's own downloads";
      lines.push(
        `TensorFlow ${tensorflow} (${variant}), ${origin}, ${manifest.kernels === undefined ? 'without' : 'with'} native kernels: ${folder}`,
      );
    } else if (broken !== undefined) {
      lines.push(`The engine in ${root} is broken: ${broken}.`, 'Run `tinyzero engine install`.');
    } else lines.push('No native engine is installed.', 'Run `tinyzero engine install`.');
    if (installing !== undefined) lines.push(`An install is in progress (${installing}).`);
    else if (leftovers.length > 0) {
      lines.push('An interrupted install left these files, which no engine uses:');
      lines.push(...leftovers.map((path) => `  ${path}`));
      lines.push('`tinyzero engine install` resumes it; `tinyzero engine remove` removes everything.');
    }
    return lines;
  });
  return engine === undefined ? exitCodes.failure : exitCodes.ok;
}

export async function remove({ json, quiet }: OptionValues<'json' | 'quiet'>): Promise<number> {
  const removed = await interruptible((signal) => removeEngine(consoleReporter({ quiet, json }), signal));
  printResult(json, { removed }, () => [removed ? `Removed ${removed}.` : 'Nothing to remove.']);
  return exitCodes.ok;
}

/** The fields of an engine that `--json` prints. */
function factsOf(engine: InstalledEngine | undefined) {
  if (engine === undefined) return undefined;
  const { folder, tensorflow, variant, source } = engine;
  return { folder, tensorflow, variant, source };
}
