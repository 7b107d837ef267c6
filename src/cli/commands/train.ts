/**
 * @file `tinyzero train`: a whole run, told as it goes, with a summary at the end.
 */

import { basename, join } from 'node:path';
import { builtinModel } from '../../model/shipped.js';
import type { CommonOptionName, OptionValues, trainingOptionNames } from '../../options/table.js';
import type { DryRunRequest } from '../../run/dry-run.js';
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
  if (dryRun) return await tellPlan({ options, folder, engine, taskApi }, reporter, json);
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

/** `runs/builtin-20260131-235959`, by the local clock. */
function newFolder(model: string): string {
  const now = new Date();
  const digits = (value: number) => String(value).padStart(2, '0');
  const day = `${now.getFullYear()}${digits(now.getMonth() + 1)}${digits(now.getDate())}`;
  const time = `${digits(now.getHours())}${digits(now.getMinutes())}${digits(now.getSeconds())}`;
  return join('runs', `${basename(model)}-${day}-${time}`);
}
