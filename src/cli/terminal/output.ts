/** @file A command's result on stdout: JSON for programs, text that fits the terminal for people. */
import { fitted } from './columns.js';
import { type Paint, paintFor } from './paint.js';

/** @param text lines for people; made only where they are wanted. */
export function printResult(json: boolean, value: unknown, text: (paint: Paint) => readonly string[]): void {
  const { stdout } = process;
  const result = json ? JSON.stringify(value, null, 2) : fitted(text(paintFor(stdout)).join('\n'), stdout);
  stdout.write(`${result}\n`);
}
