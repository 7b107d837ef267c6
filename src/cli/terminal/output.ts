/** @file A command's result on stdout: JSON for programs, text that fits the terminal for people. */
import { asInvoked } from '../program-name.js';
import { fitted } from './columns.js';
import { type Paint, paintFor } from './paint.js';
import { columnsOf } from './width.js';

/** @param text lines for people; called only where they are printed, with the width of the terminal if there is one. */
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
