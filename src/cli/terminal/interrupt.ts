/**
 * @file How a command is stopped from outside: by Ctrl-C (the first stops the work and lets it clean up, the second ends the
 * process at once); by a closed terminal (SIGHUP) or SIGTERM; or by the process that started this one as a member of a set
 * of runs, which also receives its progress.
 */
import { exitCodes, UserError } from '../../util/errors.js';
import type { Reporter, Work, WorkState, WorkUnit } from '../../util/reporter.js';

/**
 * Runs `work` with a signal that any of `signals` aborts. The error that `work` then throws gets exit code 130.
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  signals: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'],
): Promise<T> {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(exitCodes.interrupted);
    controller.abort(new UserError('Stopped.', { exitCode: exitCodes.interrupted }));
  };
  for (const name of signals) process.on(name, stop);
  // Ctrl-C on a terminal reaches both processes: the parent's request then comes second, but does not mean to end at once.
  const offParent = onParentStop(() => {
    if (!controller.signal.aborted) stop();
  });
  try {
    return await work(controller.signal);
  } finally {
    for (const name of signals) process.off(name, stop);
    offParent();
  }
}

export interface Progress {
  readonly kind: 'tinyzero-progress';
  readonly title: string;
  readonly unit: WorkUnit;
  readonly done: number;
  readonly total: number;
  readonly note?: string;
}

export const stopMessage = 'tinyzero-stop';

/** Whether a message is the progress of a member. */
export function isProgress(message: unknown): message is Progress {
  return typeof message === 'object' && message !== null && 'kind' in message && message.kind === 'tinyzero-progress';
}

/** Milliseconds between messages about the same work; notes are always sent. */
const sendEveryMs = 200;

/** The reporter, which also sends the progress of counted work to the parent, if there is one. */
export function reportingToParent(reporter: Reporter): Reporter {
  if (process.send === undefined) return reporter;
  return {
    ...reporter,
    work: (title, unit) => {
      const work = reporter.work(title, unit);
      let sentMs = Number.NEGATIVE_INFINITY;
      const update = (state: WorkState) => {
        work.update(state);
        if (state.note === undefined && performance.now() - sentMs < sendEveryMs) return;
        sentMs = performance.now();
        const { done, total, note } = state;
        send({ kind: 'tinyzero-progress', title, unit, done, total, ...(note !== undefined && { note }) });
      };
      return { ...work, update } satisfies Work;
    },
  };
}

function send(progress: Progress): void {
  // The parent may have ended; then the work stops soon.
  if (process.connected) process.send?.(progress, undefined, undefined, () => {});
}

/**
 * Calls `stop` when the parent asks for it or ends. Returns a function that undoes this; until it is called, the channel
 * stays open.
 */
function onParentStop(stop: () => void): () => void {
  if (process.send === undefined) return () => {};
  const onMessage = (message: unknown) => {
    if (message === stopMessage) stop();
  };
  process.on('message', onMessage);
  process.on('disconnect', stop);
  return () => {
    process.off('message', onMessage);
    process.off('disconnect', stop);
  };
}
