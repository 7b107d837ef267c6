/**
 * @file `tinyzero sft`: supervised training on given completions, with its progress and a summary at the end.
 */
import { join } from 'node:path';
import { builtinModel } from '../../model/shipped.js';
import type { CommonOptionName, sftOptionNames } from '../../options/names.js';
import type { OptionName, OptionValues } from '../../options/table.js';
import { shellWord } from '../../report/command.js';
import { withTrainedModel } from '../../run/checkpoints.js';
import type { SftEvent, SftRequest, SftResult } from '../../run/events.js';
import { newFolder, requireRun, runFiles, whileThere } from '../../run/folder.js';
import type { SftDryRun } from '../../run/sft/dry-run.js';
import { exitCodes } from '../../util/errors.js';
import { counted, formatSeconds } from '../../util/format.js';
import type { Reporter } from '../../util/reporter.js';
import { requireWatch, watchedRun } from '../browser.js';
import type { runCommandOptions } from '../command-spec.js';
import { requireRemote } from '../modal/require.js';
import { programName } from '../program-name.js';
import { describeNeeds, requireFit } from '../run-summary.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult, printTrainEvent } from '../terminal/output.js';
import type { Paint } from '../terminal/paint.js';
import { consoleReporter } from '../terminal/progress.js';
import { sftProgress } from '../train-progress.js';

type Values = OptionValues<(typeof sftOptionNames)[number] | (typeof runCommandOptions)[number] | CommonOptionName>;

export async function run(all: Values, _: readonly string[], flags: ReadonlySet<OptionName>): Promise<number> {
  const { on, remoteGpu: _gpu, timeout: _timeout, volume: _volume, detach: _detach, ...values } = all;
  requireRemote('sft', { on }, flags);
  const stored =
    values.resume === undefined ? undefined : (await import('../resumed.js')).ownSft(values.resume, all, flags);
  if (on === 'modal') return await elsewhere(all, flags);
  const { seeds: _seeds, parallel: _parallel, ...single } = values;
  const { out, resume, dryRun, watch, port, open, engine, install, json, quiet, color: __, ...given } = single;
  requireWatch({ watch, port, open }, flags);
  const { runSeeds } = await import('../many/seeds.js');
  const ofSet = await runSeeds('sft', values, flags);
  if (ofSet !== undefined) return ofSet;
  const reporter = consoleReporter({ quiet, json });
  const started = performance.now();
  const folder = resume ?? out ?? newFolder(given.name ?? `sft-${(given.model ?? builtinModel).split('/').at(-1)}`);
  const options = withTrainedModel(given);
  const request = { options, folder, resume: resume !== undefined, engine, install };
  if (dryRun) {
    if (resume !== undefined) requireRun(resume);
    const data = join(folder, runFiles.examples);
    const own = stored && { engine: stored.engine, options: { ...stored.options, data } };
    return await printPlan({ ...request, ...own }, reporter, json);
  }
  const { sft } = await import('../../run/sft/train.js');
  const progress = sftProgress(reporter);
  const onEvent = (event: SftEvent) => {
    progress.onEvent(event);
    if (json) printTrainEvent(event);
  };
  const result = await interruptible(async (signal) => {
    try {
      const trained = await watchedRun({ watch, port, open }, folder, reporter, () =>
        sft(request, onEvent, reporter, signal),
      );
      const { writeSftReport } = await import('../../report/sft-page.js');
      return { ...trained, report: whileThere(folder, () => writeSftReport({ folder })) };
    } finally {
      progress.end();
    }
  });
  const seconds = (performance.now() - started) / 1000;
  printResult(json, result, (paint) => summarize(result, seconds, paint));
  return exitCodes.ok;
}

async function elsewhere(values: Values, flags: ReadonlySet<OptionName>): Promise<number> {
  const { onModal } = await import('../modal/commands.js');
  const started = performance.now();
  return await onModal<SftResult & { report: string }>('sft', values, flags, (result, paint) =>
    summarize(result, (performance.now() - started) / 1000, paint),
  );
}

async function printPlan(request: SftRequest, reporter: Reporter, json: boolean): Promise<number> {
  const { sftDryRun } = await import('../../run/sft/dry-run.js');
  const plan = await interruptible((signal) => sftDryRun(request, reporter, signal));
  printResult(json, plan, () => describePlan(plan));
  requireFit(plan, 'Use a smaller model, --lora-rank, a smaller --micro-batch, or shorter lines.');
  return exitCodes.ok;
}

function describePlan(plan: SftDryRun): string[] {
  const { model, parameters, lines, tokens, longest, updates } = plan;
  const count = (value: number) => value.toLocaleString('en');
  return [
    `${model}: ${count(parameters)} parameters.`,
    `  ${counted(lines.train, 'training line')}, ${counted(lines.heldOut, 'held-out line')}; ` +
      `${counted(tokens, 'completion token')}, the longest line has ${count(longest)} tokens`,
    `  ${counted(updates, 'update')}`,
    ...describeNeeds(plan),
  ];
}

function summarize(
  { folder, updates, before, after, report }: SftResult & { report: string },
  seconds: number,
  paint: Paint,
) {
  const word = shellWord(folder);
  const headline =
    before === null || after === null
      ? paint.strong('Trained. No lines were held out, so the gain was not measured.')
      : after.loss < before.loss
        ? paint.good(
            `The held-out loss fell from ${before.loss.toFixed(3)} to ${after.loss.toFixed(3)} nats per token.`,
          )
        : paint.bad(
            `The held-out loss did not fall: ${before.loss.toFixed(3)} before, ${after.loss.toFixed(3)} nats per token after.`,
          );
  return [
    headline,
    `${counted(updates, 'update')}, ${formatSeconds(seconds)}. The report is ${report}, the trained model ${folder}/final.`,
    '',
    paint.strong('Next:'),
    ...[`report ${word} --open`, `play --model ${word}`, `train --model ${word}`].map(
      (command) => `  ${programName()} ${command}`,
    ),
  ];
}
