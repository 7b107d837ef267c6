/**
 * @file Handles Ctrl-C: the first stops the work and lets it clean up, the second ends the process at once. A closed terminal
 * (SIGHUP) and SIGTERM count as Ctrl-C, and so does the end of the process that started this one as a member of a set of runs.
 */
import { exitCodes, UserError } from '../../util/errors.js';
import { onParentStop } from './channel.js';

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
  // Ctrl-C on a terminal reaches both processes: the parent's request is then the second, but no order to end at once.
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
