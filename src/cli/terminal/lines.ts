/**
 * @file Reads lines from a terminal or a pipe, one at a time. On a terminal, lines can be edited, the arrow keys recall earlier
 * lines, Ctrl-C clears the line and Ctrl-D ends the input.
 */
import { createInterface } from 'node:readline';

export interface LineSource {
  /** Whether the input is a terminal. */
  readonly interactive: boolean;
  /** The next line, or undefined at the end of the input. */
  next(): Promise<string | undefined>;
}

/** Number of lines that the arrow keys can recall. */
const historySize = 200;

/** The lines of standard input. @param signal ends the input if it is a pipe; not used on a terminal. */
export function inputLines(prompt: string, signal: AbortSignal): LineSource {
  return process.stdin.isTTY ? typedLines(prompt) : pipedLines(signal);
}

function pipedLines(signal: AbortSignal): LineSource {
  const lines = createInterface({ input: process.stdin, terminal: false, signal })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    return done === true ? undefined : (value as string);
  };
  return { interactive: false, next };
}

/**
 * Controls the terminal only while reading a line. Between lines, it is in its normal mode, in which Ctrl-C sends a signal
 * that reaches the current work.
 */
function typedLines(prompt: string): LineSource {
  const output = process.stdout.isTTY ? process.stdout : process.stderr;
  let history: string[] = [];
  const pasted: string[] = [];
  const ask = () =>
    new Promise<void>((resolve) => {
      const terminal = createInterface({
        input: process.stdin,
        output,
        prompt,
        history: [...history],
        historySize,
        removeHistoryDuplicates: true,
      });
      terminal.on('history', (lines) => {
        history = lines;
      });
      terminal.on('line', (line) => {
        // Several lines may be pasted at once; closing at the first would lose the others.
        if (pasted.push(line) === 1) setImmediate(() => terminal.close());
      });
      terminal.on('SIGINT', () => {
        output.write(terminal.line === '' ? '^C  (Ctrl-D leaves)\n' : '^C\n');
        terminal.write(null, { ctrl: true, name: 'e' });
        terminal.write(null, { ctrl: true, name: 'u' });
        terminal.prompt();
      });
      terminal.once('close', () => {
        if (pasted.length === 0) output.write('\n');
        resolve();
      });
      terminal.prompt();
    });
  const next = async () => {
    if (pasted.length === 0) await ask();
    return pasted.shift();
  };
  return { interactive: true, next };
}
