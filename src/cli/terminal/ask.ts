/**
 * @file A yes-or-no question on the terminal.
 */
import { createInterface } from 'node:readline/promises';
import type { Reporter } from '../../util/reporter.js';

/** The asker, or undefined where nobody can answer: no terminal, or a CI job. */
export function terminalAsker(): Reporter['ask'] {
  const { stdin, stderr, env } = process;
  if (!stdin.isTTY || !stderr.isTTY || env.CI) return undefined;
  return async (question, signal) => {
    const terminal = createInterface({ input: stdin, output: stderr });
    // While it reads a line, the terminal reports Ctrl-C here instead of to the process.
    terminal.on('SIGINT', () => process.emit('SIGINT'));
    try {
      const answer = await terminal.question(`${question} [Y/n] `, { signal });
      return !/^\s*n/i.test(answer);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      terminal.close();
    }
  };
}
