/**
 * @file Runs a set from its plan to its summary, for `--seeds`, `sweep` and `--resume` of either: checks every setting, chooses the
 * number of runs side by side, fetches engine and weights once, runs all, and writes the summary, the table and the report.
 */
import { join } from 'node:path';
import type { EngineName, EngineSetting } from '../../engine/choices.js';
import { chooseEngine } from '../../engine/install/choose.js';
import { openModel } from '../../model/open.js';
import { builtinModel } from '../../model/shipped.js';
import { sftOptionNames, trainingOptionNames } from '../../options/names.js';
import { shellWord } from '../../report/command.js';
import { judgeSet } from '../../report/many/verdict.js';
import { trainedModel, withTrainedModel } from '../../run/checkpoints.js';
import { requireEmptyFolder } from '../../run/folder.js';
import {
  holdsPlan,
  optionsOf,
  type PlannedRun,
  type RunPlan,
  readPlan,
  resumeCommand,
  setFiles,
  writePlan,
} from '../../run/many/plan.js';
import { readSet, type SetSummary, tableOf, writeSummary } from '../../run/many/summary.js';
import type { Needs } from '../../run/needs.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { makeFolder } from '../../util/file.js';
import { counted, formatBytes } from '../../util/format.js';
import { type Reporter, silentReporter } from '../../util/reporter.js';
import { type WatchRequest, watchedRun } from '../browser.js';
import { programName } from '../program-name.js';
import { describeNeeds, requireFit } from '../run-summary.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import type { Paint } from '../terminal/paint.js';
import { consoleReporter } from '../terminal/progress.js';
import { tableLines, tableWidth } from '../terminal/table.js';
import { chooseParallel, execute, type FailedRun, type Parallel, parseParallel } from './execute.js';

export interface SetRequest {
  readonly folder: string;
  /** The plan of a new set; absent to resume the one in the folder. */
  readonly plan?: RunPlan;
  readonly parallel: string;
  readonly engine: EngineSetting;
  readonly install: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly page: WatchRequest;
}

/** @returns the exit code: 0, or that of the failed runs. */
export async function runSet(request: SetRequest): Promise<number> {
  const { folder, json, quiet, dryRun } = request;
  const wanted = parseParallel(request.parallel);
  const reporter = consoleReporter({ quiet });
  const plan = request.plan ?? readPlan(folder);
  if (request.plan !== undefined) requireFree(folder);
  const work = async (signal: AbortSignal) => {
    // With nothing left to do, the model and the task need not exist any more.
    const isDone = readSet(folder, plan).every(({ row }) => row.state === 'finished');
    if (isDone) reporter.line(`All ${counted(plan.runs.length, 'run')} are finished.`);
    const failed = isDone && !dryRun ? [] : await runLeft(request, plan, wanted, reporter, signal);
    if (failed === undefined) return exitCodes.ok;
    const { readSetRecord, writeSetReport } = await import('../../report/many/page.js');
    const set = readSetRecord(folder);
    const { summary } = set;
    writeSummary(summary);
    const report = writeSetReport(set);
    printResult(json, { ...summary, failed, report }, (paint, width) =>
      describeSet({ summary, plan, failed, report }, paint, width),
    );
    return exitCodeOf(failed);
  };
  // A dry run has no page.
  const page = { ...request.page, watch: request.page.watch && !dryRun };
  return await interruptible((signal) => watchedRun(page, folder, reporter, () => work(signal)));
}

/** Runs the unfinished members. @returns the failed ones; undefined for a dry run. */
async function runLeft(
  request: SetRequest,
  plan: RunPlan,
  wanted: ReturnType<typeof parseParallel>,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<readonly FailedRun[] | undefined> {
  const { folder, json, dryRun } = request;
  const needs = await needsOf(plan, request, reporter, signal);
  const parallel = chooseParallel(wanted, plan.runs.length, needs);
  if (dryRun) {
    printResult(json, { runs: plan.runs, parallel, ...needs }, () => describePlan(plan, parallel, needs));
    requireFit(needs, 'Use a smaller model, a smaller --batch-size, or fewer runs.');
    return undefined;
  }
  reporter.line(`${counted(plan.runs.length, 'run')} into ${folder}, ${sideBySide(parallel)}.`);
  const engine = await engineOf(plan, request, reporter, signal);
  await fetchWeights(plan, reporter, signal);
  if (request.plan !== undefined) {
    makeFolder(folder);
    writePlan(folder, { ...plan, ...(engine && { engine }) });
  }
  const common = engine === undefined ? [] : ['--engine', engine, '--no-install'];
  return await execute({ folder, plan, parallel, common }, reporter, signal);
}

/** The engine of all runs, including those that start after a stop; undefined if a Tinker server computes all of them. */
async function engineOf(
  plan: RunPlan,
  request: SetRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<EngineName | undefined> {
  if (plan.runs.every(isOnTinker)) return undefined;
  const { name } = await chooseEngine({ ...request, engine: plan.engine ?? request.engine, reporter, signal });
  return name;
}

function isOnTinker({ flags }: PlannedRun): boolean {
  return flags.tinkerUrl !== undefined;
}

function requireFree(folder: string): void {
  if (holdsPlan(folder)) {
    throw new UserError({
      problem: `${folder} already contains a set of runs.`,
      fix: `Resume it with --resume ${folder}, or choose another folder with --out.`,
    });
  }
  requireEmptyFolder(folder, 'Choose another folder with --out.');
}

function sideBySide({ count, reason }: Parallel): string {
  return count === 1 ? `one at a time (${reason})` : `${count} at a time (${reason})`;
}

/** 0 without failures, the exit code of the failed runs if they agree, otherwise 1. */
function exitCodeOf(failed: readonly FailedRun[]): number {
  const codes = new Set(failed.map(({ exitCode }) => exitCode ?? exitCodes.failure));
  if (codes.size === 0) return exitCodes.ok;
  return codes.size === 1 ? [...codes][0]! : exitCodes.failure;
}

type RunNeeds = Needs & { readonly parameters: number };

/** The needs of the largest run. */
interface SetNeeds extends RunNeeds {
  /** Bytes for all runs. */
  readonly totalDisk: number;
}

/** The needs of the largest run. Rejects what a run would reject, before any run starts. */
async function needsOf(plan: RunPlan, request: SetRequest, reporter: Reporter, signal: AbortSignal): Promise<SetNeeds> {
  // Runs of one setting differ only in their seeds.
  const firsts = plan.settings.flatMap((_, setting) => plan.runs.find((run) => run.setting === setting) ?? []);
  const work = reporter.work('Checking settings', 'checks');
  let largest: RunNeeds | undefined;
  try {
    for (const [i, run] of firsts.entries()) {
      const needs = await dryRunOf(plan.command, run, request, signal);
      const bytes = ({ memory }: RunNeeds) => Math.max(...memory.map((stage) => stage.bytes));
      if (largest === undefined || bytes(needs) > bytes(largest)) largest = needs;
      work.update({ done: i + 1, total: firsts.length });
      signal.throwIfAborted();
    }
  } finally {
    work.end();
  }
  if (largest === undefined) throw new UserError('The plan has no runs.');
  const totalDisk = largest.disk.bytes * plan.runs.length;
  const { shortfalls, available } = largest;
  const others = shortfalls.filter(({ what }) => what !== 'disk space');
  const what = `disk space for ${counted(plan.runs.length, 'run')}`;
  const short = totalDisk > available.disk ? [{ what, needed: totalDisk, available: available.disk }] : [];
  return { ...largest, totalDisk, shortfalls: [...others, ...short] };
}

async function dryRunOf(
  command: RunPlan['command'],
  run: PlannedRun,
  { folder, engine, install }: SetRequest,
  signal: AbortSignal,
): Promise<RunNeeds> {
  const where = { folder: join(folder, run.name), engine, install };
  try {
    if (command === 'sft') {
      const { sftDryRun } = await import('../../run/sft/dry-run.js');
      const request = { ...where, options: withTrainedModel(optionsOf(sftOptionNames, run)), resume: false };
      return await sftDryRun(request, silentReporter, signal);
    }
    const { dryRun } = await import('../../run/dry-run.js');
    const taskApi = () => import('../../index.js');
    return await dryRun(
      { ...where, options: withTrainedModel(optionsOf(trainingOptionNames, run)), taskApi, time: false },
      silentReporter,
      signal,
    );
  } catch (error) {
    if (!(error instanceof UserError) || signal.aborted) throw error;
    throw new UserError(`${run.name}: ${error.message}`, { exitCode: error.exitCode, cause: error });
  }
}

/** Downloads what is missing once, so that runs side by side do not. */
async function fetchWeights(plan: RunPlan, reporter: Reporter, signal: AbortSignal): Promise<void> {
  // A Tinker server has the weights itself.
  const here = plan.runs.filter((run) => !isOnTinker(run));
  const names = here.flatMap(({ flags }) => [flags.model ?? builtinModel, flags.reference ?? []].flat());
  for (const name of new Set(names)) {
    if (typeof name !== 'string') continue;
    const { pretrained } = await openModel(trainedModel(name), reporter, signal);
    pretrained.weights.close();
  }
}

function describePlan(plan: RunPlan, parallel: Parallel, needs: SetNeeds): string[] {
  const { runs } = plan;
  const shown = runs.slice(0, 20).map(({ name, seed, flags }) => {
    const values = plan.swept.map((option) => `${option} ${flags[option]}`);
    return `  ${name}: ${[...values, `seed ${seed}`].join(', ')}`;
  });
  return [
    `${counted(runs.length, 'run')} of \`tinyzero ${plan.command}\`, ${sideBySide(parallel)}:`,
    ...shown,
    ...(runs.length > shown.length ? [`  and ${runs.length - shown.length} more`] : []),
    'The largest run:',
    ...describeNeeds(needs),
    `All runs together: ${formatBytes(needs.totalDisk)} of disk.`,
  ];
}

/** Whether `folder` names a set, so that --resume continues all of it. */
export function isSet(folder: string | undefined): folder is string {
  return folder !== undefined && holdsPlan(folder);
}

interface DescribedSet {
  readonly summary: SetSummary;
  readonly plan: RunPlan;
  readonly failed: readonly FailedRun[];
  /** Path of the report. */
  readonly report: string;
}

function describeSet(
  { summary, plan, failed, report }: DescribedSet,
  paint: Paint,
  width = Number.POSITIVE_INFINITY,
): string[] {
  const { sentence, notes, kind } = judgeSet(summary, plan);
  const { good, bad, warn, strong } = paint;
  const tones: Partial<Record<typeof kind, typeof good>> = { learned: good, small: good, worse: bad, memory: warn };
  const headline = tones[kind] ?? strong;
  const { folder } = summary;
  const word = shellWord(folder);
  return [
    headline(sentence),
    ...notes,
    '',
    ...tableRows(summary, width),
    '',
    ...failed.map(({ name, reason }) => paint.bad(`${name} failed: ${reason}`)),
    `The report is ${report}, the table in Markdown ${join(folder, setFiles.table)}.`,
    '',
    paint.strong('Next:'),
    ...(failed.length > 0 ? [`  ${programName()} ${resumeCommand(plan)} ${word}`] : []),
    ...nextCommands(summary, word).map((line) => `  ${programName()} ${line}`),
  ];
}

function nextCommands({ kind, ranking, runs, command }: SetSummary, word: string): string[] {
  const best = ranking?.find(({ score }) => score !== null);
  const run = best && runs.find(({ name }) => name === best.name || name.startsWith(`${best.name}-seed-`));
  return [
    `report ${word} --open`,
    ...(kind === 'sweep' && run ? [`${command} --config ${word}/${run.name} --seeds 11..15`] : []),
    `runs ${word}`,
  ];
}

/** Leading columns that are shown together or not at all: the seed and the four accuracies. */
const minColumns = 5;

/** The table; without its last columns on a narrow terminal, and with each row as a list on a very narrow one. */
function tableRows(summary: SetSummary, width: number): string[] {
  const { head, rows, totals } = tableOf(summary);
  const body = [...rows, ...totals];
  for (let columns = head.length; columns >= Math.min(minColumns, head.length); columns--) {
    const lines = tableLines([head, ...body].map((cells) => cells.slice(0, columns))).map((line) => `  ${line}`);
    const rest = columns < head.length ? [`  (also in the report: ${head.slice(columns).join(', ')})`] : [];
    if (tableWidth(lines) <= width) return [...lines, ...rest];
  }
  return body.flatMap((cells) => [
    `  ${head[0]} ${cells[0]}`,
    ...cells.flatMap((cell, i) => (i === 0 || cell === '' ? [] : [`    ${head[i]}: ${cell}`])),
  ]);
}
