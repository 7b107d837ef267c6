/** @file Prints a command's result to stdout: as a line of JSON, or as text that fits the terminal. */
import { asInvoked } from '../program-name.js';
import { fitted } from './columns.js';
import { type Paint, paintFor } from './paint.js';
import { columnsOf } from './width.js';

/** One line of `--json`. The last line of a command has the event `result` or `error` (docs/agents.md). */
export function printEvent(event: { readonly event: string; readonly [field: string]: unknown }): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

/** @param text returns the lines for people. Called only if they are printed, with the width of the terminal, if any. */
export function printResult(
  json: boolean,
  value: object,
  text: (paint: Paint, width: number | undefined) => readonly string[],
): void {
  if (json) {
    printEvent({ event: 'result', ...value });
    return;
  }
  const { stdout } = process;
  const width = stdout.isTTY ? columnsOf(stdout) : undefined;
  stdout.write(`${fitted(asInvoked(text(paintFor(stdout), width).join('\n')), stdout)}\n`);
}
