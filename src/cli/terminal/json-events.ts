/** @file `--json`: what happens while a command works, as lines of JSON on stdout, beside what stderr shows. */
import type { TrainEvent } from '../../run/events.js';
import type { SftEvent } from '../../run/sft/events.js';
import type { Reporter, Work, WorkUnit } from '../../util/reporter.js';
import { printEvent } from './output.js';

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
      const tell = teller(title, 'bytes');
      return {
        update: (done) => {
          transfer.update(done);
          tell(done, total);
        },
        end: transfer.end,
      };
    },
    work: (title, unit): Work => {
      const work = reporter.work(title, unit);
      const tell = teller(title, unit);
      return {
        ...work,
        update: (state) => {
          work.update(state);
          tell(state.done, state.total);
        },
      };
    },
  };
}

function teller(title: string, unit: WorkUnit): (done: number, total: number) => void {
  let toldMs = performance.now();
  return (done, total) => {
    if (performance.now() - toldMs < progressEveryMs) return;
    toldMs = performance.now();
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
