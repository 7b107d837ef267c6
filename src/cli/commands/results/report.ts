/**
 * @file `tinyzero report`: makes the report of a run from its files and, with --open, opens it in a browser. `tinyzero
 * watch`: the report of runs, or of stage 1, as a page that follows them, until Ctrl-C.
 */
import { resolve } from 'node:path';
import type { OptionValues } from '../../../options/table.js';
import { shellWord } from '../../../report/command.js';
import { watchRuns } from '../../../report/live/watch.js';
import { commandOfRun, requireRun, whileThere } from '../../../run/folder.js';
import { holdsPlan } from '../../../run/many/plan.js';
import { exitCodes, UserError } from '../../../util/errors.js';
import { openInBrowser } from '../../browser.js';
import { interruptible } from '../../terminal/interrupt.js';
import { printResult } from '../../terminal/output.js';
import { consoleReporter } from '../../terminal/progress.js';

export async function run(
  { compareRuns, open, out, json, quiet }: OptionValues<'compareRuns' | 'open' | 'out' | 'json' | 'quiet'>,
  [folder]: readonly string[],
): Promise<number> {
  if (holdsPlan(folder!)) return await ofSet(folder!, { compareRuns, open, out, json, quiet });
  const request = { folder: folder!, compare: compareRuns, ...(out !== undefined && { out }) };
  requireRun(folder!);
  if (commandOfRun(folder!) === 'sft') {
    const { writeSftReport } = await import('../../../report/sft-page.js');
    const path = whileThere(folder!, () => writeSftReport(request));
    printResult(json, { path }, () => [`The report is in ${path}.`]);
    return await shown(path, open, quiet);
  }
  const { writeReport } = await import('../../../report/page.js');
  const { path, verdict } = whileThere(folder!, () => writeReport(request));
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
  const [{ readSetRecord, writeSetReport }, { judgeSet }] = await Promise.all([
    import('../../../report/many/page.js'),
    import('../../../report/many/verdict.js'),
  ]);
  const set = readSetRecord(folder);
  const path = writeSetReport(set, out);
  const verdict = judgeSet(set.summary, set.plan);
  printResult(json, { verdict, path }, () => [verdict.sentence, ...verdict.notes, `The report is in ${path}.`]);
  return await shown(path, open, quiet);
}

async function shown(path: string, open: boolean, quiet: boolean): Promise<number> {
  if (open && !(await openInBrowser(resolve(path)))) {
    consoleReporter({ quiet }).line(`Cannot open a browser. Open ${resolve(path)} yourself.`);
  }
  return exitCodes.ok;
}

type WatchValues = OptionValues<'port' | 'open' | 'json' | 'quiet'>;

export async function watch({ port, open, json, quiet }: WatchValues, paths: readonly string[]): Promise<number> {
  const [first, ...others] = paths;
  const reporter = consoleReporter({ quiet });
  const printJson = (record: object) => process.stdout.write(`${JSON.stringify(record)}\n`);
  const watching = await watchRuns({
    paths: [first!, ...others],
    port,
    onState: ({ path, state }, sentence) => {
      if (json) printJson({ event: 'state', run: path, state, sentence });
      else reporter.line(`${path}: ${sentence}${/[.!?]$/.test(sentence) ? '' : '.'}`);
    },
  });
  const { url } = watching;
  // The address is never wrapped, so that it can be clicked.
  if (json) printJson({ event: 'listening', url, port: watching.port, runs: paths });
  else process.stdout.write(`${url}\n`);
  reporter.line('Ctrl-C closes the page, not the run.');
  if (open && !(await openInBrowser(url))) reporter.line('Cannot open a browser. Open the address yourself.');
  await interruptible(untilStopped).catch((error) => {
    if (!(error instanceof UserError)) throw error; // Ctrl-C is how it ends
  });
  const again = paths.map((path) => shellWord(resolve(path))).join(' ');
  await watching.close(`The page is closed; \`tinyzero watch ${again}\` opens it again.`);
  return exitCodes.ok;
}

/** Rejects when the signal is aborted. */
function untilStopped(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });
}
