/**
 * @file `tinyzero eval`: a model on held-out problems, alone or against another.
 */
import type { CommonOptionName, evaluationOptionNames, OptionValues } from '../config.js';
import { defaultOptions } from '../defaults.js';
import { exitCodes } from '../errors.js';
import { type ComparableEvaluation, compareEvaluations, readEvaluation } from '../eval-compare.js';
import type { EvalSummary } from '../eval-summary.js';
import { trainedModel } from '../run/folder.js';
import { interruptible } from '../run/interrupt.js';
import { printResult } from '../run/output.js';
import { consoleReporter } from '../run/progress.js';
import { describeComparison, describeEvaluation } from '../run-report.js';
import { builtinModel } from '../util/shipped.js';

type Values = OptionValues<(typeof evaluationOptionNames)[number] | 'engine' | 'install' | 'json' | CommonOptionName>;

/** Samples of each problem where --samples does not say: one problem's rate is then known to 0.06. */
const defaultSamples = 64;

export async function run(values: Values): Promise<number> {
  const { compare: other, json } = values;
  const summary = await interruptible((signal) => evaluateModel(values, values.checkpoint ?? builtinModel, signal));
  let compared: ComparableEvaluation | undefined;
  if (other?.endsWith('.json')) compared = readEvaluation(other);
  else if (other !== undefined) compared = await interruptible((signal) => evaluateModel(values, other, signal));
  const comparison = compared && compareEvaluations(summary, compared);
  printResult(json, { ...summary, ...(comparison && { compare: comparison }) }, (paint) => [
    ...describeEvaluation(summary, paint),
    ...(comparison === undefined ? [] : [`Against ${comparison.model}:`, ...describeComparison(comparison, paint)]),
  ]);
  return exitCodes.ok;
}

async function evaluateModel(values: Values, name: string, signal: AbortSignal): Promise<EvalSummary> {
  const {
    checkpoint: _,
    compare: __,
    samples = defaultSamples,
    engine,
    install,
    json: ___,
    quiet,
    color: ____,
    ...given
  } = values;
  const reporter = consoleReporter({ quiet });
  const { openJob, openPolicy } = await import('../job.js');
  const { evaluate } = await import('../evaluate.js');
  const options = defaultOptions({ ...given, model: trainedModel(name) });
  const job = await openJob({ options, wish: { engine, install }, reporter, signal });
  try {
    const { policy, kit } = openPolicy(job, job.problems.test);
    try {
      return await evaluate(kit, job.problems.test, { model: name, samples, signal, reporter });
    } finally {
      policy.dispose();
    }
  } finally {
    job.close();
  }
}
