/**
 * @file Shows progress on stderr, so that stdout contains only results: bars with the time left on a terminal, occasional
 * plain lines elsewhere, nothing with --quiet.
 */
import { createInterface } from 'node:readline/promises';
import { MultiBar, Presets, SingleBar } from 'cli-progress';
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
import { fitted } from './columns.js';
import { reportingToParent } from './interrupt.js';
import { withJsonEvents } from './output.js';
import { columnsOf } from './paint.js';

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

/** Prints each line once. */
export function withoutRepeats(reporter: Reporter): Reporter {
  const lines = new Set<string>();
  const line = (text: string) => {
    if (!lines.has(text)) reporter.line(text);
    lines.add(text);
  };
  return { ...reporter, line };
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
  let printedMs = performance.now();
  const line = (text: string) => {
    printedMs = performance.now();
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
          else if (performance.now() - printedMs >= plainEveryMs)
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

interface BarState {
  readonly title: string;
  /** From 0 to 1. */
  readonly share: number;
  /** Text after the bar. */
  readonly facts: string;
  readonly details: readonly string[];
}

interface LiveArea {
  /** Replaces the previous drawing. */
  draw(state: BarState): void;
  /** Removes the area from the screen. */
  clear(): void;
}

/** Layout of a bar on `stream`; its texts are the payload. A narrow terminal shows only the texts. */
function barLook(stream: NodeJS.WriteStream) {
  const barsize = Math.max(0, Math.min(24, columnsOf(stream) - 50));
  return { hideCursor: true, barsize, format: barsize === 0 ? '{title} {facts}' : '{title} {bar} {facts}' };
}

/** @param stream a terminal. */
function liveArea(stream: NodeJS.WriteStream): LiveArea {
  let shown: { readonly bars: MultiBar; readonly rows: SingleBar[] } | undefined;

  const clear = () => {
    process.off('exit', clear);
    shown?.bars.stop();
    shown = undefined;
  };

  return {
    draw({ title, share, facts, details }) {
      if (shown === undefined) {
        const options = { stream, ...barLook(stream), clearOnComplete: true, gracefulExit: false };
        shown = { bars: new MultiBar(options, Presets.shades_classic), rows: [] };
        // Bars hide the cursor; restore it when the process exits.
        process.on('exit', clear);
      }
      const { bars, rows } = shown;
      const payloads = [{ title, facts }, ...details.map((text) => ({ text }))];
      for (const [i, payload] of payloads.entries()) {
        rows[i] ??= bars.create(1, 0, payload, { format: i === 0 ? barLook(stream).format : '{text}' });
        rows[i].update(share, payload);
      }
      bars.update();
    },
    clear,
  };
}

interface TimeLeft {
  /** Records the work done so far and the current estimate of the total. */
  reached(done: number, total: number): void;
  /** Seconds until the work is done; undefined while too little is done for an estimate. */
  seconds(): number | undefined;
}

/** Share of the work below which there is no estimate. */
const minShare = 0.05;
/** Progress within this time counts as one event, since completions end in bursts. */
const momentMs = 20;

interface Point {
  readonly ms: number;
  readonly done: number;
}

/** @param now a clock in milliseconds. */
export function timeLeft(now: () => number = () => performance.now()): TimeLeft {
  /** Work done and time of each event, both increasing. */
  const points: Point[] = [];
  /** Index of the last event with at most a quarter of the work done so far. */
  let quarter = 0;
  let all = 0;
  return {
    reached(done, total) {
      all = total;
      const ms = now();
      const last = points.at(-1);
      if (last !== undefined && done <= last.done) return;
      const sameMoment = last !== undefined && points.length > 1 && ms - last.ms < momentMs;
      if (sameMoment) points[points.length - 1] = { ms: last.ms, done };
      else points.push({ ms, done });
      const begin = points[0]!.done;
      while (quarter + 1 < points.length && points[quarter + 1]!.done - begin <= (done - begin) / 4) quarter += 1;
    },
    seconds() {
      const begin = points[0];
      const last = points.at(-1);
      if (begin === undefined || last === undefined) return undefined;
      if (last.done - begin.done < minShare * (all - begin.done)) return undefined;
      const from = points[quarter]!;
      const msEach = (last.ms - from.ms) / (last.done - from.done);
      // Time passes between events, but after more than the usual interval the work is slower than estimated.
      const since = Math.min(now() - last.ms, (last.ms - from.ms) / (points.length - 1 - quarter));
      return Math.max(0, (all - last.done) * msEach - since) / 1000;
    },
  };
}
