/**
 * @file `tinyzero eval`: a model on held-out problems, alone or against another.
 */
import { usageError } from '../../model/open.js';
import { builtinModel } from '../../model/shipped.js';
import type { CommonOptionName, evaluationOptionNames } from '../../options/names.js';
import { defaultOptions, type TrainingOptions } from '../../options/settings.js';
import type { OptionName, OptionValues } from '../../options/table.js';
import { type ComparableEvaluation, compareEvaluations, readEvaluation } from '../../policy/eval-compare.js';
import type { EvalSummary } from '../../policy/eval-summary.js';
import { trainedModel } from '../../run/checkpoints.js';
import { evaluationOptionsOf } from '../../run/record.js';
import { exitCodes } from '../../util/errors.js';
import type { Reporter } from '../../util/reporter.js';
import type { resultCommandOptions } from '../command-spec.js';
import { requireRemote } from '../modal/require.js';
import { optionsOfRun, withOwnOptions } from '../own-options.js';
import { describeComparison, describeEvaluation } from '../run-summary.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import type { Paint } from '../terminal/paint.js';
import { consoleReporter, withoutRepeats } from '../terminal/progress.js';

type Values = OptionValues<
  (typeof evaluationOptionNames)[number] | (typeof resultCommandOptions)[number] | CommonOptionName
>;

export async function run(
  values: Values,
  _operands: readonly string[],
  given: ReadonlySet<OptionName>,
): Promise<number> {
  requireRemote('eval', values, given);
  if (values.on === 'modal') {
    const { onModal } = await import('../modal/commands.js');
    return await onModal<Evaluated>('eval', values, given, describe);
  }
  const { compare: other, json, model = builtinModel } = values;
  if (values.samplerUrl !== undefined && other !== undefined && !other.endsWith('.json')) {
    throw usageError(
      '--compare: a server samples from one model.',
      'Evaluate the other model separately with --json, and give that file to --compare.',
    );
  }
  const options = problemOptions(model, values, given);
  // The second model of a comparison has the engine and the problems of the first.
  const reporter = withoutRepeats(consoleReporter(values));
  const evaluateModel = (name: string) =>
    interruptible((signal) => evaluateOne(values, options, name, reporter, signal));
  const summary = await evaluateModel(model);
  let compared: ComparableEvaluation | undefined;
  if (other?.endsWith('.json')) compared = readEvaluation(other);
  else if (other !== undefined) compared = await evaluateModel(other);
  const comparison = compared && compareEvaluations(summary, compared);
  const result: Evaluated = { ...summary, ...(comparison && { compare: comparison }) };
  printResult(json, result, (paint) => describe(result, paint));
  return exitCodes.ok;
}

interface Evaluated extends EvalSummary {
  readonly compare?: ReturnType<typeof compareEvaluations>;
}

function describe(result: Evaluated, paint: Paint): string[] {
  const { compare } = result;
  const compared = compare === undefined ? [] : [`Against ${compare.model}:`, ...describeComparison(compare, paint)];
  return [...describeEvaluation(result, paint), ...compared];
}

/** Options of the evaluation, the same for both models of a comparison. */
function problemOptions(model: string, values: Values, given: ReadonlySet<OptionName>): Partial<TrainingOptions> {
  const { model: _, compare, samples, engine, install, json, quiet, color, ...evaluation } = values;
  const { on, remoteGpu, timeout, volume, detach, dryRun, ...flags } = evaluation;
  const own = optionsOfRun(model);
  return withOwnOptions(flags, own && evaluationOptionsOf(own), given);
}

async function evaluateOne(
  { samples, engine, install }: Values,
  given: Partial<TrainingOptions>,
  name: string,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<EvalSummary> {
  const { evaluateModel } = await import('../../run/job.js');
  const options = defaultOptions({
    ...given,
    model: trainedModel(name),
    ...(samples !== undefined && { evalSamples: samples }),
  });
  return await evaluateModel(
    { options, engineRequest: { engine, install }, reporter, signal, taskApi: () => import('../../index.js') },
    name,
  );
}
