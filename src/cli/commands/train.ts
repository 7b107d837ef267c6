/**
 * @file `tinyzero train`: a whole run, told as it goes, with a summary at the end.
 */

import { builtinModel } from '../../model/shipped.js';
import type { CommonOptionName, OptionValues, trainingOptionNames } from '../../options/table.js';
import type { DryRunRequest } from '../../run/dry-run.js';
import { newFolder } from '../../run/folder.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { formatBytes } from '../../util/format.js';
import type { Reporter } from '../../util/reporter.js';
import { describeDryRun, summarize } from '../run-summary.js';
import { taskApi } from '../task-api.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import { paintFor } from '../terminal/paint.js';
import { consoleReporter } from '../terminal/progress.js';
import { runTeller } from '../train-progress.js';

type Values = OptionValues<
  (typeof trainingOptionNames)[number] | 'out' | 'resume' | 'dryRun' | 'engine' | 'install' | 'json' | CommonOptionName
>;

export async function run(values: Values): Promise<number> {
  const { out, resume, dryRun, engine, install, json, quiet, color: _, ...options } = values;
  const reporter = consoleReporter({ quiet });
  const started = performance.now();
  const folder = resume ?? out ?? newFolder(options.model ?? builtinModel);
  if (dryRun) return await tellPlan({ options, folder, engine, install, taskApi }, reporter, json);
  const { train } = await import('../../run/train.js');
  const teller = runTeller(reporter, paintFor(process.stderr));
  const result = await interruptible(async (signal) => {
    const request = { options, folder, resume: resume !== undefined, engine, install, taskApi };
    try {
      const trained = await train(request, teller.tell, reporter, signal);
      const { writeReport } = await import('../../report/write.js');
      return { ...trained, report: writeReport({ folder }).path };
    } finally {
      teller.end();
    }
  });
  printResult(json, result, (paint) => summarize(result, (performance.now() - started) / 1000, paint));
  return exitCodes.ok;
}

/** @throws UserError when the run cannot fit; what it needs has been told by then. */
async function tellPlan(request: DryRunRequest, reporter: Reporter, json: boolean): Promise<number> {
  const { dryRun } = await import('../../run/dry-run.js');
  const plan = await interruptible((signal) => dryRun(request, reporter, signal));
  printResult(json, plan, () => describeDryRun(plan));
  if (plan.shortfalls.length === 0) return exitCodes.ok;
  const needs = plan.shortfalls.map(
    ({ what, needed, available }) => `${what}: ${formatBytes(needed)} needed, ${formatBytes(available)} there`,
  );
  throw new UserError({
    problem: `This run cannot fit here. ${needs.join('; ')}.`,
    fix: 'Take a smaller model, a smaller --batch-size or --max-new-tokens, or a larger machine.',
  });
}
