/**
 * @file The process that serves the page of `train --watch`. It is separate, with a lower priority, since an update blocks the event
 * loop of the training process. It ends when that process says so or ends.
 */
import { constants, setPriority } from 'node:os';
import { watchRuns } from '../report/live/watch.js';
import { UserError } from '../util/errors.js';
import type { FromChild, ToChild } from './browser.js';

const send = (message: FromChild) => process.send?.(message);

// Ctrl-C reaches this process too, but the run continues until it has saved.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});

process.once('message', async ({ folder, port, farewell }: ToChild) => {
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  try {
    const watching = await watchRuns({ paths: [folder], port });
    const end = async () => {
      await watching.close(farewell);
      process.exit();
    };
    process.once('message', end);
    process.once('disconnect', end);
    send({ url: watching.url });
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    send({ error: error.message });
    process.disconnect();
  }
});
