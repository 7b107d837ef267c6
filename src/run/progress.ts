/**
 * @file Progress on stderr: bars with bytes and time left on a terminal, now and then a plain line elsewhere.
 */
import { SingleBar } from 'cli-progress';
import { formatBytes, formatSeconds } from '../util/format.js';
import type { Reporter, Transfer } from '../util/reporter.js';

/** Milliseconds between two plain lines about one transfer: seldom enough for a log, often enough to see it live. */
const plainEveryMs = 5000;

/** A reporter that writes to `stream`, stderr unless told otherwise, so that stdout holds only results. */
export function consoleReporter(stream: NodeJS.WriteStream = process.stderr): Reporter {
  return {
    line: (text) => void stream.write(`${text}\n`),
    transfer: (title, total) => (stream.isTTY ? bar(stream, title, total) : plain(stream, title, total)),
  };
}

function bar(stream: NodeJS.WriteStream, title: string, total: number): Transfer {
  const view = new SingleBar({
    stream,
    hideCursor: true,
    clearOnComplete: false,
    format: (_options, { value, progress, startTime }) => {
      const width = 24;
      const filled = '█'.repeat(Math.round(progress * width)).padEnd(width, '░');
      return `${title} ${filled} ${describe(value, total, Date.now() - startTime)}`;
    },
  });
  view.start(Math.max(total, 1), 0);
  return { update: (done) => view.update(done), end: () => view.stop() };
}

function plain(stream: NodeJS.WriteStream, title: string, total: number): Transfer {
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
    // From less than a hundredth no time can be foretold.
    if (total > done && done > total / 100) parts.push(`${formatSeconds((total - done) / bytesPerSecond)} left`);
  }
  return parts.join(', ');
}

export interface StatusLine {
  /** Says where the work stands; `text` is called only when it will be shown. */
  update(text: () => string): void;
  /** Takes the line away. */
  clear(): void;
}

/** Work is worth a word when it takes this long. */
const quietMs = 2000;
const redrawMs = 100;

/** One line on a terminal, rewritten as work goes on, from two seconds after now. Elsewhere nothing is shown. */
export function statusLine(stream: NodeJS.WriteStream = process.stderr): StatusLine {
  let nextMs = performance.now() + quietMs;
  let shown = false;
  return {
    update(text) {
      if (!stream.isTTY || performance.now() < nextMs) return;
      nextMs = performance.now() + redrawMs;
      shown = true;
      // Cut to the terminal's width: a wrapped line could not be rewritten.
      stream.write(`\r\x1b[K${text().slice(0, (stream.columns || 80) - 1)}`);
    },
    clear() {
      if (shown) stream.write('\r\x1b[K');
      shown = false;
    },
  };
}
