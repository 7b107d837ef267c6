/**
 * @file `tinyzero report`: makes the report of a run from its files, and opens it where there is a screen.
 */
import { resolve } from 'node:path';
import type { OptionValues } from '../../options/table.js';
import { exitCodes } from '../../util/errors.js';
import { printResult } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

export async function run(
  { compareRuns, open, out, json, quiet }: OptionValues<'compareRuns' | 'open' | 'out' | 'json' | 'quiet'>,
  [folder]: readonly string[],
): Promise<number> {
  const { writeReport } = await import('../../report/write.js');
  const { path, verdict } = writeReport({ folder: folder!, compare: compareRuns, ...(out !== undefined && { out }) });
  printResult(json, { verdict, path }, () => [verdict.sentence, ...verdict.notes, `The report is in ${path}.`]);
  if (open && !(await opened(resolve(path)))) {
    consoleReporter({ quiet }).line(`No browser could be opened here: open ${resolve(path)} in one.`);
  }
  return exitCodes.ok;
}

/** Hands the file to whatever opens HTML files here, without waiting for it; false where there is nothing to show it on. */
async function opened(path: string): Promise<boolean> {
  const { DISPLAY, WAYLAND_DISPLAY, WSL_DISTRO_NAME } = process.env;
  // A text browser that takes over the terminal, or waits for one, is not what was asked for.
  if (process.platform === 'linux' && !(DISPLAY || WAYLAND_DISPLAY || WSL_DISTRO_NAME)) return false;
  try {
    const { default: openFile } = await import('open');
    await openFile(path);
    return true;
  } catch {
    return false; // whatever the reason, the file is there and can be opened by hand
  }
}
