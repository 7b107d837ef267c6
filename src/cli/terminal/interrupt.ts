/**
 * @file Ctrl-C: the first asks the work to stop and clean up, the second ends the process at once. A closed terminal (SIGHUP)
 * and a polite kill (SIGTERM) count as Ctrl-C.
 */
import { exitCodes, UserError } from '../../util/errors.js';

/**
 * Runs `work` with a signal that is aborted by any of `signals`; the error that `work` then throws exits with 130.
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
  try {
    return await work(controller.signal);
  } finally {
    for (const name of signals) process.off(name, stop);
  }
}
