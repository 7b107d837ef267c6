/**
 * @file `tinyzero pretrain`: makes a built-in model, measures it on its held-out problems and writes its card.
 */
import { join } from 'node:path';
import { defaultOptions } from '../../options/settings.js';
import type { OptionValues } from '../../options/table.js';
import type { EvalSummary } from '../../policy/eval-summary.js';
import type { PretrainStep } from '../../pretrain/builtin.js';
import { newFolder, requireEmptyFolder } from '../../run/folder.js';
import { exitCodes } from '../../util/errors.js';
import { explainAsyncWrites, explainWrites, makeFolder, writeFileAtomic } from '../../util/file.js';
import type { Work } from '../../util/reporter.js';
import { describeEvaluation } from '../run-summary.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

type Values = OptionValues<'corpus' | 'family' | 'out' | 'force' | 'steps' | 'engine' | 'install' | 'json' | 'quiet'>;

/** Steps between lines in a log. */
const lineEverySteps = 50;
/** Samples per held-out problem in the evaluation for the model card. */
const evalSamples = 64;

export async function run(values: Values): Promise<number> {
  const { force, json } = values;
  const out = values.out ?? newFolder(values.family === 'qwen2' ? values.corpus : `${values.corpus}-${values.family}`);
  if (!force) requireEmptyFolder(out, 'Choose another folder with --out, or replace the model there with --force.');
  // Reports an unwritable folder before minutes of work, not after them.
  explainWrites(out, () => makeFolder(out), 'Choose another folder with --out.');
  const summary = await interruptible((signal) => make(values, out, signal));
  printResult(json, { ...summary, folder: out }, (paint) => [
    ...describeEvaluation(summary, paint),
    `The model is in ${out}; \`tinyzero train --model ${out}\` trains it.`,
  ]);
  return exitCodes.ok;
}

async function make(values: Values, out: string, signal: AbortSignal): Promise<EvalSummary> {
  const { corpus, family, steps, install } = values;
  const reporter = consoleReporter(values);
  const [{ openRequestedEngine }, { makeBuiltin }, { modelCard }, { evaluateModel }] = await Promise.all([
    import('../../model/open.js'),
    import('../../pretrain/builtin.js'),
    import('../../pretrain/builtin.js'),
    import('../../run/job.js'),
  ]);

  // Train the model and save it.
  const engine = await openRequestedEngine({ engine: values.engine, install, precision: 'f32' }, reporter, signal);
  const work = reporter.work('Pre-training', 'steps');
  const onStep = (step: PretrainStep, total: number) => showStep(work, step, total);
  const options = { corpus, family, onStep, signal, ...(steps !== undefined && { steps }) };
  await explainAsyncWrites(out, () => makeBuiltin(engine, out, options)).finally(work.end);

  // Evaluate it on its held-out problems and write its model card.
  const request = {
    options: defaultOptions({ model: out, evalSamples }),
    engineRequest: { engine: engine.name, install },
    reporter,
    signal,
    taskApi: () => import('../../index.js'),
  };
  const evaluation = await evaluateModel(request, corpus);
  const [asFamily, asSteps] = [
    family === 'qwen2' ? '' : ` --family ${family}`,
    steps === undefined ? '' : ` --steps ${steps}`,
  ];
  const command = `tinyzero pretrain --corpus ${corpus}${asFamily}${asSteps}`;
  const card = modelCard({ corpus, family, command, steps, engine: engine.description, evaluation });
  explainWrites(out, () => writeFileAtomic(join(out, 'README.md'), card));
  return evaluation;
}

function showStep(work: Work, { step, loss, gradientNorm }: PretrainStep, total: number): void {
  const state = `loss ${loss.toFixed(4)}, gradient ${gradientNorm.toFixed(3)}`;
  const isDue = step % lineEverySteps === 0 || step === total;
  work.update({
    done: step,
    total,
    details: () => [`  ${state}`],
    ...(isDue && { note: `Step ${step} of ${total}: ${state}` }),
  });
}
