/**
 * @file `tinyzero report`: makes the report of a run from its files and, with --open, opens it in a browser.
 */
import { resolve } from 'node:path';
import type { OptionValues } from '../../../options/table.js';
import { commandOfRun } from '../../../run/folder.js';
import { holdsPlan } from '../../../run/many/plan.js';
import { exitCodes, UserError } from '../../../util/errors.js';
import { printResult } from '../../terminal/output.js';
import { consoleReporter } from '../../terminal/progress.js';

export async function run(
  { compareRuns, open, out, json, quiet }: OptionValues<'compareRuns' | 'open' | 'out' | 'json' | 'quiet'>,
  [folder]: readonly string[],
): Promise<number> {
  if (holdsPlan(folder!)) return await ofSet(folder!, { compareRuns, open, out, json, quiet });
  if (commandOfRun(folder!) === 'sft') {
    if (compareRuns.length > 0) {
      const problem = `--compare: ${folder} is a run of supervised training, whose report shows no other run.`;
      throw new UserError(problem, { exitCode: exitCodes.usage });
    }
    const { writeSftReport } = await import('../../../report/sft.js');
    const path = writeSftReport(folder!, out);
    printResult(json, { path }, () => [`The report is in ${path}.`]);
    return await shown(path, open, quiet);
  }
  const { writeReport } = await import('../../../report/page.js');
  const { path, verdict } = writeReport({ folder: folder!, compare: compareRuns, ...(out !== undefined && { out }) });
  printResult(json, { verdict, path }, () => [verdict.sentence, ...verdict.notes, `The report is in ${path}.`]);
  return await shown(path, open, quiet);
}

async function ofSet(
  folder: string,
  { compareRuns, open, out, json, quiet }: OptionValues<'compareRuns' | 'open' | 'out' | 'json' | 'quiet'>,
): Promise<number> {
  if (compareRuns.length > 0) {
    const problem = `--compare: ${folder} is a set of runs, whose report shows all of them.`;
    throw new UserError(problem, { exitCode: exitCodes.usage });
  }
  const [{ writeSetReport }, { judgeSet }, { readSummary }] = await Promise.all([
    import('../../../report/many/page.js'),
    import('../../../report/many/verdict.js'),
    import('../../many/run-set.js'),
  ]);
  const { plan, summary } = readSummary(folder);
  const path = writeSetReport(folder, plan, summary, out);
  const verdict = judgeSet(summary, plan);
  printResult(json, { verdict, path }, () => [verdict.sentence, ...verdict.notes, `The report is in ${path}.`]);
  return await shown(path, open, quiet);
}

async function shown(path: string, open: boolean, quiet: boolean): Promise<number> {
  if (open && !(await opened(resolve(path)))) {
    consoleReporter({ quiet }).line(`No browser could be opened. Open ${resolve(path)} in one.`);
  }
  return exitCodes.ok;
}

/** Opens the file in the default browser without waiting for it; returns false if there is none. */
async function opened(path: string): Promise<boolean> {
  const { DISPLAY, WAYLAND_DISPLAY, WSL_DISTRO_NAME } = process.env;
  // Do not start a text browser, which would take over the terminal.
  if (process.platform === 'linux' && !(DISPLAY || WAYLAND_DISPLAY || WSL_DISTRO_NAME)) return false;
  try {
    const { default: openFile } = await import('open');
    await openFile(path);
    return true;
  } catch {
    return false; // for whatever reason; the file can still be opened by hand
  }
}
