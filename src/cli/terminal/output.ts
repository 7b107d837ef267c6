/** @file Prints a command's result to stdout: as JSON, or as text that fits the terminal. */
import { asInvoked } from '../program-name.js';
import { fitted } from './columns.js';
import { type Paint, paintFor } from './paint.js';
import { columnsOf } from './width.js';

/** @param text returns the lines for people. Called only if they are printed, with the width of the terminal, if any. */
export function printResult(
  json: boolean,
  value: unknown,
  text: (paint: Paint, width: number | undefined) => readonly string[],
): void {
  const { stdout } = process;
  const width = stdout.isTTY ? columnsOf(stdout) : undefined;
  const result = json
    ? JSON.stringify(value, null, 2)
    : fitted(asInvoked(text(paintFor(stdout), width).join('\n')), stdout);
  stdout.write(`${result}\n`);
}
