/**
 * @file `tinyzero pretrain`: makes a built-in model and its card.
 */

import { join } from 'node:path';
import { defaultOptions } from '../../options/settings.js';
import type { OptionValues } from '../../options/table.js';
import { exitCodes } from '../../util/errors.js';
import { writeFileAtomic } from '../../util/file.js';
import { explainWrites } from '../../util/write.js';
import { describeEvaluation } from '../run-summary.js';
import { taskApi } from '../task-api.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

type Values = OptionValues<'corpus' | 'out' | 'steps' | 'engine' | 'install' | 'json' | 'quiet'>;

/** Lines about pre-training come this often. */
const lineEverySteps = 50;
const samples = 64;

export async function run(values: Values): Promise<number> {
  const { corpus, steps, engine: wanted, install, json } = values;
  const out = values.out ?? join('models', corpus);
  const reporter = consoleReporter(values);
  const summary = await interruptible(async (signal) => {
    const { openWantedEngine } = await import('../../model/open.js');
    const { makeBuiltin } = await import('../../pretrain/builtin.js');
    const engine = await openWantedEngine({ engine: wanted, install, precision: 'f32' }, reporter, signal);
    const work = reporter.work('Pre-training', 'steps');
    const making = makeBuiltin(engine, out, {
      corpus,
      ...(steps !== undefined && { steps }),
      signal,
      onStep: ({ step, loss, gradientNorm }, total) => {
        const state = `loss ${loss.toFixed(4)}, gradient ${gradientNorm.toFixed(3)}`;
        const due = step % lineEverySteps === 0 || step === total;
        work.update({
          ...{ done: step, total },
          details: () => [`  ${state}`],
          ...(due && { note: `Step ${step} of ${total}: ${state}` }),
        });
      },
    });
    await making.finally(work.end);
    const { openJob, openPolicy } = await import('../../run/job.js');
    const { evaluate } = await import('../../policy/evaluate.js');
    const engineRequest = { engine: engine.name, install };
    const job = await openJob({ options: defaultOptions({ model: out }), engineRequest, reporter, signal, taskApi });
    const { policy, kit } = openPolicy(job, job.problems.test);
    try {
      const result = await evaluate(kit, job.problems.test, { model: `models/${corpus}`, samples, signal, reporter });
      const { modelCard } = await import('../../pretrain/card.js');
      const command = `tinyzero pretrain --corpus ${corpus}${steps === undefined ? '' : ` --steps ${steps}`}`;
      const card = modelCard({ corpus, command, steps, engine: engine.description, evaluation: result });
      explainWrites(out, () => writeFileAtomic(join(out, 'README.md'), card));
      return result;
    } finally {
      policy.dispose();
      job.close();
    }
  });
  printResult(json, summary, (paint) => [...describeEvaluation(summary, paint), `The model is in ${out}.`]);
  return exitCodes.ok;
}
