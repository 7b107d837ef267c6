/**
 * @file `tinyzero estimate-vstar`: stage 1 alone, or V* derived from the rewards of an earlier stage 1. `tinyzero merge-vstar`
 * joins its parts, `tinyzero import-vstar` takes the rewards from a table.
 */
import type { CommonOptionName, estimationOptionNames, samplingOptionNames } from '../../options/names.js';
import { defaultOptions } from '../../options/settings.js';
import type { OptionName, OptionValues } from '../../options/table.js';
import { withTrainedModel } from '../../run/checkpoints.js';
import { runFiles } from '../../run/folder.js';
import { type Preflight, preflightOf } from '../../stage1/preflight.js';
import {
  deriveVStar,
  mergeVStarFiles,
  readVStarFile,
  type VStarFile,
  writeVStarFile,
} from '../../stage1/v-star-file.js';
import { exitCodes } from '../../util/errors.js';
import { explainWrites } from '../../util/file.js';
import { counted } from '../../util/format.js';
import type { resultCommandOptions } from '../command-spec.js';
import { requireRemote } from '../modal/require.js';
import { describePreflight } from '../run-summary.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import type { Paint } from '../terminal/paint.js';
import { consoleReporter } from '../terminal/progress.js';

type Values = OptionValues<
  (typeof estimationOptionNames)[number] | (typeof resultCommandOptions)[number] | CommonOptionName
>;

export async function run(all: Values, _: readonly string[], flags: ReadonlySet<OptionName>): Promise<number> {
  const { on, remoteGpu, timeout, volume, detach, dryRun, ...values } = all;
  requireRemote('estimate-vstar', { on }, flags);
  if (on === 'modal') {
    const { onModal } = await import('../modal/commands.js');
    return await onModal<{ file: string; preflight: Preflight }>('estimate-vstar', all, flags, (result, paint) =>
      describeWritten(result.preflight, result.file, paint),
    );
  }
  const { fromVStar, shard, out = runFiles.vStar, engine, install, json, quiet, color: __, ...given } = values;
  let file: VStarFile;
  if (fromVStar !== undefined) file = derived(given, fromVStar);
  else {
    const { estimateVStar } = await import('../../run/estimate.js');
    const request = {
      options: defaultOptions(withTrainedModel(given)),
      engine,
      install,
      taskApi: () => import('../../index.js'),
      out,
      shard,
    };
    file = await interruptible((signal) => estimateVStar(request, consoleReporter({ quiet, json }), signal));
  }
  explainWrites(out, () => writeVStarFile(out, file));
  const report = preflightOf(file);
  printResult(json, { file: out, preflight: report }, (paint) => describeWritten(report, out, paint));
  return exitCodes.ok;
}

const describeWritten = (report: Preflight, out: string, paint: Paint) => [
  ...describePreflight(report, paint),
  `Written to ${out}.`,
];

/** `tinyzero import-vstar`: a V* file from the rewards in a table. */
export async function importTable(
  values: OptionValues<(typeof samplingOptionNames)[number] | 'out' | 'json' | CommonOptionName>,
): Promise<number> {
  const { out = runFiles.vStar, json, quiet, color: _, ...given } = values;
  const { importVStar } = await import('../../run/estimate.js');
  const request = { options: defaultOptions(withTrainedModel(given)), taskApi: () => import('../../index.js') };
  const file = await interruptible((signal) => importVStar(request, consoleReporter({ quiet, json }), signal));
  explainWrites(out, () => writeVStarFile(out, file));
  const report = preflightOf(file);
  printResult(json, { file: out, preflight: report }, (paint) => describeWritten(report, out, paint));
  return exitCodes.ok;
}

function derived({ beta1, numSamples }: Pick<Values, 'beta1' | 'numSamples'>, from: string): VStarFile {
  const change = { ...(beta1 !== undefined && { beta1 }), ...(numSamples !== undefined && { samples: numSamples }) };
  return deriveVStar(from, readVStarFile(from), change);
}

/** `tinyzero merge-vstar`: one V* file from the parts of several machines. */
export async function merge(
  { out = runFiles.vStar, partial, json }: OptionValues<'out' | 'partial' | 'json'>,
  files: readonly string[],
): Promise<number> {
  const merged = mergeVStarFiles(
    files.map((path) => ({ path, file: readVStarFile(path) })),
    { partial },
  );
  writeVStarFile(out, merged);
  const problems = merged.entries.size;
  printResult(json, { file: out, problems, samples: merged.samples }, () => [
    `${counted(problems, 'problem')} from ${counted(files.length, 'file')}, written to ${out}.`,
  ]);
  return exitCodes.ok;
}
