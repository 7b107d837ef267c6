/**
 * @file `tinyzero report`: makes the report of a run from its files and, with --open, opens it in a browser.
 */
import { resolve } from 'node:path';
import type { OptionValues } from '../../../options/table.js';
import { commandOfRun } from '../../../run/folder.js';
import { holdsPlan } from '../../../run/many/plan.js';
import { exitCodes, UserError } from '../../../util/errors.js';
import { openInBrowser } from '../../open-browser.js';
import { printResult } from '../../terminal/output.js';
import { consoleReporter } from '../../terminal/progress.js';

export async function run(
  { compareRuns, open, out, json, quiet }: OptionValues<'compareRuns' | 'open' | 'out' | 'json' | 'quiet'>,
  [folder]: readonly string[],
): Promise<number> {
  if (holdsPlan(folder!)) return await ofSet(folder!, { compareRuns, open, out, json, quiet });
  const request = { folder: folder!, compare: compareRuns, ...(out !== undefined && { out }) };
  if (commandOfRun(folder!) === 'sft') {
    const { writeSftReport } = await import('../../../report/sft/page.js');
    const path = writeSftReport(request);
    printResult(json, { path }, () => [`The report is in ${path}.`]);
    return await shown(path, open, quiet);
  }
  const { writeReport } = await import('../../../report/page.js');
  const { path, verdict } = writeReport(request);
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
  if (open && !(await openInBrowser(resolve(path)))) {
    consoleReporter({ quiet }).line(`No browser could be opened. Open ${resolve(path)} in one.`);
  }
  return exitCodes.ok;
}
