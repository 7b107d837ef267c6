/**
 * @file Writes to stdout: a command's result as JSON or as text that fits the terminal, the events of `--json`, and the
 * output of concurrent work in order.
 */
import type { SftEvent, TrainEvent } from '../../run/events.js';
import type { Reporter, Work, WorkUnit } from '../../util/reporter.js';
import { asInvoked } from '../program-name.js';
import { fitted } from './columns.js';
import { columnsOf, type Paint, paintFor } from './paint.js';

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

interface OrderedOutput {
  push(index: number, text: string): void;
  /** Marks item `index` as finished. */
  end(index: number): void;
}

/** @param write receives the text of item 0 in pieces, then that of item 1, and so on, with the item's index. */
export function orderedOutput(write: (text: string, index: number) => void): OrderedOutput {
  const waiting = new Map<number, string>();
  const ended = new Set<number>();
  let current = 0;
  return {
    push(index, text) {
      if (index === current) write(text, index);
      else waiting.set(index, (waiting.get(index) ?? '') + text);
    },
    end(index) {
      ended.add(index);
      while (ended.delete(current)) {
        current += 1;
        const text = waiting.get(current);
        waiting.delete(current);
        if (text !== undefined) write(text, current);
      }
    },
  };
}

/** Milliseconds between two lines about the same work. */
const progressEveryMs = 1000;

/** `reporter`, which prints its lines and its progress as events too. */
export function withJsonEvents(reporter: Reporter): Reporter {
  return {
    ...reporter,
    line: (text) => {
      reporter.line(text);
      printEvent({ event: 'note', text });
    },
    transfer: (title, total) => {
      const transfer = reporter.transfer(title, total);
      const printProgress = progressPrinter(title, 'bytes');
      return {
        update: (done) => {
          transfer.update(done);
          printProgress(done, total);
        },
        end: transfer.end,
      };
    },
    work: (title, unit): Work => {
      const work = reporter.work(title, unit);
      const printProgress = progressPrinter(title, unit);
      return {
        ...work,
        update: (state) => {
          work.update(state);
          printProgress(state.done, state.total);
        },
      };
    },
  };
}

function progressPrinter(title: string, unit: WorkUnit): (done: number, total: number) => void {
  let printedMs = performance.now();
  return (done, total) => {
    if (performance.now() - printedMs < progressEveryMs) return;
    printedMs = performance.now();
    printEvent({ event: 'progress', title, unit, done, total });
  };
}

/** An event of a run as a line; problems are counted, not listed. */
export function printTrainEvent({ kind, ...event }: TrainEvent | SftEvent): void {
  if ('problems' in event) {
    const { train, rows, test } = event.problems;
    printEvent({ event: kind, ...event, problems: { train: train.length, rows: rows.length, test: test.length } });
  } else if ('summary' in event) {
    const { perProblem: _, ...summary } = event.summary;
    printEvent({ event: kind, ...event, summary });
  } else if ('history' in event) printEvent({ event: kind, step: event.step });
  else printEvent({ event: kind, ...event });
}
