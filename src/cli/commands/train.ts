/**
 * @file `tinyzero train`: a whole run, with its progress and a summary at the end.
 */
import { builtinModel } from '../../model/shipped.js';
import type { CommonOptionName, trainingOptionNames } from '../../options/names.js';
import type { OptionName, OptionValues } from '../../options/table.js';
import { withTrainedModel } from '../../run/checkpoints.js';
import type { DryRunRequest } from '../../run/dry-run.js';
import type { TrainEvent } from '../../run/events.js';
import { newFolder, requireRun, whileThere } from '../../run/folder.js';
import { exitCodes } from '../../util/errors.js';
import type { Reporter } from '../../util/reporter.js';
import { requireWatch, watchedRun } from '../browser.js';
import type { runCommandOptions } from '../command-spec.js';
import { requireRemote } from '../modal/require.js';
import { describeDryRun, type FinishedRun, requireFit, summarize } from '../run-summary.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult, printTrainEvent } from '../terminal/output.js';
import { paintFor } from '../terminal/paint.js';
import { consoleReporter } from '../terminal/progress.js';
import { trainProgress } from '../train-progress.js';

type Values = OptionValues<
  (typeof trainingOptionNames)[number] | (typeof runCommandOptions)[number] | 'workers' | CommonOptionName
>;

const taskApi = () => import('../../index.js');

export async function run(all: Values, _: readonly string[], flags: ReadonlySet<OptionName>): Promise<number> {
  const { on, remoteGpu: _gpu, timeout: _timeout, volume: _volume, detach: _detach, ...values } = all;
  requireRemote('train', { on, tinkerUrl: values.tinkerUrl, resume: values.resume }, flags);
  const stored =
    values.resume === undefined ? undefined : (await import('../resumed.js')).ownRun(values.resume, all, flags);
  if (on === 'modal') return await elsewhere(all, flags);
  const { seeds: _seeds, parallel: _parallel, ...single } = values;
  const {
    out,
    resume,
    dryRun,
    watch,
    port,
    open,
    engine,
    install,
    workers: listed,
    json,
    quiet,
    color: __,
    ...given
  } = single;
  requireWatch({ watch, port, open }, flags);
  const { runSeeds } = await import('../many/seeds.js');
  const ofSet = await runSeeds('train', values, flags);
  if (ofSet !== undefined) return ofSet;
  const reporter = consoleReporter({ quiet, json });
  const started = performance.now();
  const folder = resume ?? out ?? newFolder(given.name ?? given.model ?? builtinModel);
  const options = withTrainedModel(given);
  const workers = listed?.split(',');
  const { train, resumedOptions } = await import('../../run/train.js');
  if (dryRun) {
    if (resume !== undefined) requireRun(resume);
    const planned = stored === undefined ? options : resumedOptions(stored.options, options);
    const engineOfPlan = stored === undefined || stored.engine === 'server' ? engine : stored.engine;
    return await printPlan(
      { options: planned, folder, engine: engineOfPlan, install, workers, taskApi, time: true },
      reporter,
      json,
    );
  }
  const progress = trainProgress(reporter, paintFor(process.stderr));
  const onEvent = (event: TrainEvent) => {
    progress.onEvent(event);
    if (json) printTrainEvent(event);
  };
  const result = await interruptible(async (signal) => {
    const request = { options, folder, resume: resume !== undefined, engine, install, workers, taskApi };
    try {
      const trained = await watchedRun({ watch, port, open }, folder, reporter, () =>
        train(request, onEvent, reporter, signal),
      );
      const { writeReport } = await import('../../report/page.js');
      const { path, verdict } = whileThere(folder, () => writeReport({ folder }));
      return { ...trained, verdict, report: path };
    } finally {
      progress.end();
    }
  });
  const seconds = (performance.now() - started) / 1000;
  printResult(json, result, (paint, width) =>
    summarize({ ...result, model: result.before.model }, { seconds, paint, width }),
  );
  return exitCodes.ok;
}

async function elsewhere(values: Values, flags: ReadonlySet<OptionName>): Promise<number> {
  const { onModal } = await import('../modal/commands.js');
  const started = performance.now();
  return await onModal<Omit<FinishedRun, 'model'>>('train', values, flags, (result, paint, width) => {
    const seconds = (performance.now() - started) / 1000;
    return summarize({ ...result, model: result.before.model }, { seconds, paint, width });
  });
}

/** @throws UserError when the run cannot fit. The plan is printed first. */
async function printPlan(request: DryRunRequest, reporter: Reporter, json: boolean): Promise<number> {
  const { dryRun } = await import('../../run/dry-run.js');
  const plan = await interruptible((signal) => dryRun(request, reporter, signal));
  printResult(json, plan, () => describeDryRun(plan));
  requireFit(plan, 'Use a smaller model, a smaller --batch-size or --max-new-tokens, or a larger machine.');
  return exitCodes.ok;
}
