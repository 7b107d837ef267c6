/** @file `tinyzero merge`: a full model folder from an adapter and its base. */
import { savePretrained } from '../../model/checkpoint/save.js';
import { parameterSpecs } from '../../model/network/params.js';
import { openModel, usageError } from '../../model/open.js';
import type { OptionValues } from '../../options/table.js';
import { trainedModel } from '../../run/final.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { explainAsyncWrites } from '../../util/file.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

export async function run({ out, json }: OptionValues<'out' | 'json'>, operands: readonly string[]): Promise<number> {
  if (out === undefined) throw usageError('--out is missing.', 'Give the folder for the merged model: --out FOLDER.');
  const reference = trainedModel(operands[0]!);
  const reporter = consoleReporter({ quiet: true });
  const { pretrained } = await interruptible((signal) => openModel(reference, reporter, signal));
  try {
    const { adapterFolder, config, configRecord, folder, weights } = pretrained;
    if (adapterFolder === undefined) {
      throw new UserError({
        problem: `${reference} has no adapter to merge: it is a full model.`,
        fix: 'Use a folder with adapter_config.json, or a run trained with --lora-rank.',
      });
    }
    await explainAsyncWrites(out, () =>
      savePretrained(out, {
        configRecord,
        specs: parameterSpecs(config),
        dtype: 'float32',
        carryFrom: folder,
        read: weights.read,
      }),
    );
    printResult(json, { folder: out, adapter: adapterFolder }, () => [
      `The adapter of ${adapterFolder}, merged into its base model, is in ${out}.`,
    ]);
    return exitCodes.ok;
  } finally {
    pretrained.weights.close();
  }
}
