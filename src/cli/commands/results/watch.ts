/**
 * @file `tinyzero watch`: the report of runs, or of stage 1, as a page that follows them, until Ctrl-C.
 */
import { resolve } from 'node:path';
import type { OptionValues } from '../../../options/table.js';
import { shellWord } from '../../../report/command.js';
import { watchRuns } from '../../../report/live/watch.js';
import { exitCodes, UserError } from '../../../util/errors.js';
import { openInBrowser } from '../../browser.js';
import { interruptible } from '../../terminal/interrupt.js';
import { consoleReporter } from '../../terminal/progress.js';

type Values = OptionValues<'port' | 'open' | 'json' | 'quiet'>;

export async function run({ port, open, json, quiet }: Values, paths: readonly string[]): Promise<number> {
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
  reporter.line('Ctrl-C ends the page, not the run.');
  if (open && !(await openInBrowser(url))) reporter.line('No browser could be opened. Open the address in one.');
  await interruptible(untilStopped).catch((error) => {
    if (!(error instanceof UserError)) throw error; // Ctrl-C is how it ends
  });
  const again = paths.map((path) => shellWord(resolve(path))).join(' ');
  await watching.close(`The page has ended; \`tinyzero watch ${again}\` shows it again.`);
  return exitCodes.ok;
}

/** Rejects when the signal is aborted. */
function untilStopped(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });
}
