/**
 * @file `tinyzero export`: writes a model for other programs, and checks that it answers the same there. `tinyzero merge`:
 * writes a full model folder from an adapter and its base.
 */
import { basename, join, resolve } from 'node:path';
import { savePretrained } from '../../model/checkpoint/save.js';
import { type ExportCheck, type ExportResult, exportModel } from '../../model/export/export.js';
import { type ExportFormat, exportTargets } from '../../model/export/targets.js';
import { parameterSpecs } from '../../model/network/params.js';
import { openModel, usageError } from '../../model/open.js';
import { builtinModel } from '../../model/shipped.js';
import { defaultOptions } from '../../options/settings.js';
import { alternatives } from '../../options/spec.js';
import type { OptionValues } from '../../options/table.js';
import { trainedModel } from '../../run/checkpoints.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { explainAsyncWrites } from '../../util/file.js';
import { formatBytes } from '../../util/format.js';
import type { Reporter } from '../../util/reporter.js';
import { optionsOfRun } from '../own-options.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

type Values = OptionValues<
  'to' | 'dtype' | 'train' | 'check' | 'reference' | 'out' | 'engine' | 'install' | 'json' | 'quiet'
>;

export async function run(values: Values, operands: readonly string[]): Promise<number> {
  const { to = 'gguf', check, json } = values;
  const given = operands[0]!;
  const format = formatOf(values);
  if (values.reference !== undefined && to !== 'web') {
    throw usageError('--reference needs --to web.', 'Other formats contain one model.');
  }
  if (values.train && to !== 'web') {
    throw usageError('--train needs --to web.', 'Other programs cannot train: use `tinyzero train`.');
  }
  const name = basename(resolve(given)).replace(/\.gguf$/i, '');
  const out = values.out ?? join('exports', `${name}-${to}`);
  const reporter = consoleReporter(values);
  const result = await interruptible((signal) =>
    to === 'web'
      ? exportPage(values, given, { name, out }, reporter, signal)
      : exportModel({ ...values, model: trainedModel(given), to, format: format!, out, name }, reporter, signal),
  );
  printResult(json, result, () => [
    `${result.path} (${formatBytes(result.bytes)})`,
    ...result.notes,
    ...(to === 'web' ? ['Serve it with any static server:', `  npx http-server ${out}`] : []),
    ...(result.check ? checkLines(result.check) : []),
  ]);
  const exact = format === undefined || format === 'f32';
  return exact && check && differs(result.check!) ? exitCodes.failure : exitCodes.ok;
}

/** @throws UserError (wrong usage) for a format that the target lacks. Undefined if the target has no choice. */
function formatOf({ to = 'gguf', dtype }: Values): ExportFormat | undefined {
  const formats: readonly ExportFormat[] = exportTargets[to];
  if (dtype === undefined || formats.includes(dtype)) return dtype ?? formats[0];
  const fix =
    formats.length === 0 ? 'This target keeps numbers as they are stored.' : `Choose ${alternatives(formats)}.`;
  throw usageError(`--to ${to} has no --dtype ${dtype}.`, fix);
}

/** The page of a run shows the trained model next to the model before training. */
async function exportPage(
  { reference, engine, install, check, train }: Values,
  given: string,
  { name, out }: { readonly name: string; readonly out: string },
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExportResult> {
  const { exportWeb } = await import('../../report/web/export.js');
  const options = optionsOfRun(given);
  const beside = reference ?? (options && (options.reference ?? options.model ?? builtinModel));
  const models = [
    { reference: trainedModel(given), name },
    ...(beside === undefined ? [] : [{ reference: trainedModel(beside), name: basename(beside) }]),
  ];
  const training = options ?? defaultOptions();
  return await exportWeb({ models, training, out, check, train, engine, install }, reporter, signal);
}

/** Stated in docs/export.md. */
const largestGap = 1e-3;

function differs({ prompts, sameAnswers, largestLogProbGap = 0 }: ExportCheck): boolean {
  return sameAnswers < prompts || largestLogProbGap > largestGap;
}

function checkLines({ program, prompts, ...check }: ExportCheck): string[] {
  const { sameTokens, sameAnswers, largestLogProbGap: gap, firstDifference: first } = check;
  const log = gap === undefined ? '' : `; log-probs differ by at most ${gap.toPrecision(2)}`;
  return [
    `In ${program}: ${sameAnswers} of ${prompts} greedy answers have the same tokens${log}.`,
    ...(sameTokens < prompts
      ? [`Its tokenizer gave different ids for ${prompts - sameTokens} of ${prompts} prompts.`]
      : []),
    ...(first === undefined
      ? []
      : [
          `First difference: after ${JSON.stringify(first.prompt)}, token ${first.position + 1} is ${first.found}, not ${first.expected} (log-prob ${first.logProb?.toFixed(3)}).`,
        ]),
  ];
}

export async function merge({ out, json }: OptionValues<'out' | 'json'>, operands: readonly string[]): Promise<number> {
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
