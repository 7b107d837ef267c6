/**
 * @file Follows a run in its sandbox: reads what the program prints, `--json` events line by line, and reconnects after a lost
 * connection without losing or repeating a line. The run is not affected.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '../../util/errors.js';
import { formatSeconds } from '../../util/format.js';
import type { Reporter } from '../../util/reporter.js';
import { explained, isLostConnection, type Modal, type Sandbox } from './client.js';

/** Time limit for reconnecting after the SDK's own attempts, and the time between attempts. */
const patience = { tries: 60, pauseMs: 5000 };

/**
 * Calls `onLine` with every line of the sandbox's output from the first one on, until it ends.
 *
 * @returns the exit code. @throws UserError after five minutes without a connection, and the reason of `signal`.
 */
export async function followSandbox(
  modal: Modal,
  { sandboxId }: Sandbox,
  name: string,
  onLine: (line: string) => void,
  reporter: Reporter,
  signal: AbortSignal,
  { tries, pauseMs } = patience,
): Promise<number> {
  let seen = 0;
  let rest = '';
  for (let lost = 0; ; lost++) {
    try {
      const sandbox = await modal.client.sandboxes.fromId(sandboxId);
      let skip = seen;
      for await (const text of abortable(sandbox.stdout, signal)) {
        const fresh = text.slice(Math.min(skip, text.length));
        skip -= Math.min(skip, text.length);
        if (fresh === '') continue;
        if (lost > 0) reporter.line('Reconnected.');
        lost = 0;
        seen += fresh.length;
        const lines = (rest + fresh).split('\n');
        rest = lines.pop()!;
        lines.forEach(onLine);
      }
      if (rest !== '') onLine(rest);
      rest = '';
      return await abortableCall(sandbox.wait(), signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!isLostConnection(error) || lost === tries) {
        return await explained(modal, `following ${name}`, () => Promise.reject(lostFor(name, error)));
      }
      if (lost === 0) {
        reporter.line(
          `The connection to Modal is lost; ${name} continues there. Retrying for ${formatSeconds((tries * pauseMs) / 1000)}.`,
        );
      }
      await sleep(pauseMs, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
}

function lostFor(name: string, error: unknown): unknown {
  if (!isLostConnection(error)) return error;
  return new UserError(
    {
      problem: `The connection to Modal is lost, but ${name} continues there.`,
      fix: `Follow it again with \`tinyzero modal logs ${name}\`; \`tinyzero modal get ${name}\` fetches its files.`,
    },
    { cause: error },
  );
}

/** Items of `source` until the signal; the SDK's streams take no signal. */
async function* abortable<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  const items = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await abortableCall(items.next(), signal);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    // Not awaited: an idle stream would never resolve it.
    items.return?.()?.catch(() => {});
  }
}

async function abortableCall<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let abort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([call, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
    call.catch(() => {});
  }
}
