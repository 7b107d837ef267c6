/**
 * @file Shows progress on stderr, so that stdout contains only results: bars with the time left on a terminal, occasional
 * plain lines elsewhere, nothing with --quiet.
 */
import { createInterface } from 'node:readline/promises';
import { Presets, SingleBar } from 'cli-progress';
import { formatBytes, formatSeconds } from '../../util/format.js';
import {
  type Reporter,
  silentReporter,
  type Transfer,
  type Work,
  type WorkState,
  type WorkUnit,
} from '../../util/reporter.js';
import { asInvoked } from '../program-name.js';
import { reportingToParent } from './channel.js';
import { fitted } from './columns.js';
import { withJsonEvents } from './json-events.js';
import { barLook, type LiveArea, liveArea } from './live.js';
import { type TimeLeft, timeLeft } from './time-left.js';
import { columnsOf } from './width.js';

/** Milliseconds between progress lines in a log. */
const plainEveryMs = 5000;
/** Milliseconds after which work gets a bar. */
const quietMs = 2000;
const redrawMs = 100;

/** @param quiet results and errors only. @param json prints everything as events on stdout too. */
export function consoleReporter(
  { quiet = false, json = false }: { readonly quiet?: boolean; readonly json?: boolean } = {},
  stream: NodeJS.WriteStream = process.stderr,
): Reporter {
  const shown = reportingToParent(
    quiet ? silentReporter : stream.isTTY ? terminalReporter(stream) : logReporter(stream),
  );
  const reporter = json ? withJsonEvents(shown) : shown;
  const ask = terminalAsker();
  return ask === undefined ? reporter : { ...reporter, ask };
}

function terminalReporter(stream: NodeJS.WriteStream): Reporter {
  const area = liveArea(stream);
  return {
    line: (text) => {
      area.clear();
      stream.write(`${fitted(asInvoked(text), stream)}\n`);
    },
    transfer: (title, total) => {
      area.clear();
      return transferBar(stream, title, total);
    },
    work: (title, unit) => liveWork(stream, area, title, unit),
  };
}

function liveWork(stream: NodeJS.WriteStream, area: LiveArea, title: string, unit: WorkUnit): Work {
  const left = timeLeft();
  let nextMs = performance.now() + quietMs;
  return {
    update(state) {
      note(left, state);
      if (performance.now() < nextMs) return;
      nextMs = performance.now() + redrawMs;
      const { done, total, details } = state;
      const width = columnsOf(stream) - 1;
      area.draw({ title, share: done / total, facts: facts(state, unit, left), details: details?.(width) ?? [] });
    },
    hide: area.clear,
    end: area.clear,
  };
}

function logReporter(stream: NodeJS.WriteStream): Reporter {
  let spokenMs = performance.now();
  const line = (text: string) => {
    spokenMs = performance.now();
    stream.write(`${asInvoked(text)}\n`);
  };
  return {
    line,
    transfer: (title, total) => plainTransfer(stream, title, total),
    work: (title, unit) => {
      const left = timeLeft();
      return {
        update(state) {
          note(left, state);
          if (state.note !== undefined) line(`${state.note}${timeNote(state, left)}`);
          else if (performance.now() - spokenMs >= plainEveryMs)
            line(`${title}: ${facts(state, unit, left)}${summaryOf(state)}`);
        },
        hide: () => {},
        end: () => {},
      };
    },
  };
}

function note(left: TimeLeft, { done, total, effort = { done, total } }: WorkState): void {
  left.reached(effort.done, effort.total);
}

function summaryOf({ summary }: WorkState): string {
  return summary === undefined ? '' : `; ${summary()}`;
}

/** `640 of 1300 completions, 2 s left`. */
function facts(state: WorkState, unit: WorkUnit, left: TimeLeft): string {
  const { done, total } = state;
  const count = unit === 'bytes' ? `${formatBytes(done)} of ${formatBytes(total)}` : `${done} of ${total} ${unit}`;
  return `${count}${timeNote(state, left)}`;
}

function timeNote({ done, total, after = 0 }: WorkState, left: TimeLeft): string {
  const seconds = left.seconds();
  return seconds === undefined || (done === total && after === 0) ? '' : `, ${formatSeconds(seconds + after)} left`;
}

function transferBar(stream: NodeJS.WriteStream, title: string, total: number): Transfer {
  const start = Date.now();
  const payload = (done: number) => ({ title, facts: describe(done, total, Date.now() - start) });
  const view = new SingleBar({ stream, ...barLook(stream), clearOnComplete: false }, Presets.shades_classic);
  view.start(Math.max(total, 1), 0, payload(0));
  return { update: (done) => view.update(done, payload(done)), end: () => view.stop() };
}

function plainTransfer(stream: NodeJS.WriteStream, title: string, total: number): Transfer {
  const start = Date.now();
  let last = start;
  let done = 0;
  stream.write(`${title}${total > 0 ? ` (${formatBytes(total)})` : ''}\n`);
  return {
    update: (bytes) => {
      done = bytes;
      if (Date.now() - last < plainEveryMs) return;
      last = Date.now();
      stream.write(`  ${describe(done, total, last - start)}\n`);
    },
    end: () => {
      const elapsedMs = Date.now() - start;
      if (elapsedMs > plainEveryMs) stream.write(`  done in ${formatSeconds(elapsedMs / 1000)}\n`);
    },
  };
}

/** `82 MB of 274 MB, 11 MB/s, 18 s left`. */
export function describe(done: number, total: number, elapsedMs: number): string {
  const parts = [total > 0 ? `${formatBytes(done)} of ${formatBytes(total)}` : formatBytes(done)];
  const bytesPerSecond = done / (elapsedMs / 1000);
  if (elapsedMs > 1000 && done > 0) {
    parts.push(`${formatBytes(bytesPerSecond)}/s`);
    // The first hundredth is too little to estimate the time left.
    if (total > done && done > total / 100) parts.push(`${formatSeconds((total - done) / bytesPerSecond)} left`);
  }
  return parts.join(', ');
}

/** Asks a yes-or-no question on the terminal. Undefined if nobody can answer: without a terminal, or in CI. */
function terminalAsker(): Reporter['ask'] {
  const { stdin, stderr, env } = process;
  if (!stdin.isTTY || !stderr.isTTY || env.CI) return undefined;
  return async (question, signal) => {
    const terminal = createInterface({ input: stdin, output: stderr });
    // While reading a line, the terminal reports Ctrl-C here, not to the process.
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
