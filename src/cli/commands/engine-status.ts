/**
 * @file `tinyzero engine status`: only reads. Exit code 1 when no usable engine is installed.
 */
import { join } from 'node:path';
import { inspectEngine } from '../../engine/install/installed.js';
import { lockHolder } from '../../engine/install/lock.js';
import type { OptionValues } from '../../options/table.js';
import { exitCodes } from '../../util/errors.js';
import { printResult } from '../terminal/output.js';

export async function run({ json }: OptionValues<'json'>): Promise<number> {
  const { root, engine, broken, leftovers } = inspectEngine();
  const installing = lockHolder(join(root, 'install.lock'));
  const facts = engine && {
    folder: engine.folder,
    tensorflow: engine.tensorflow,
    variant: engine.variant,
    rung: engine.rung,
  };
  printResult(json, { installed: engine !== undefined, engine: facts, broken, installing, leftovers }, () => {
    const lines: string[] = [];
    if (engine !== undefined) {
      const { tensorflow, variant, rung, folder, manifest } = engine;
      const source = rung === 'wheel' ? 'from the Python package index' : "from tfjs-node's own downloads";
      lines.push(
        `TensorFlow ${tensorflow} (${variant}), ${source}, addon ${manifest.kernels === undefined ? 'without' : 'with'} own kernels: ${folder}`,
      );
    } else if (broken !== undefined) {
      lines.push(`The engine in ${root} cannot be used: ${broken}.`, 'Run `tinyzero engine install`.');
    } else lines.push('No native engine is installed.', 'Run `tinyzero engine install`.');
    if (installing !== undefined) lines.push(`An install is in progress (${installing}).`);
    else if (leftovers.length > 0) {
      lines.push('An install was stopped before it was complete. It left these files, which harm no engine:');
      lines.push(...leftovers.map((path) => `  ${path}`));
      lines.push('`tinyzero engine install` continues from there; `tinyzero engine remove` removes everything.');
    }
    return lines;
  });
  return engine === undefined ? exitCodes.failure : exitCodes.ok;
}
