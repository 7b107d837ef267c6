/** @file Stops a run in its sandbox: asks it to save, and ends the sandbox if that takes too long. */
import { setTimeout as sleep } from 'node:timers/promises';
import { formatSeconds } from '../../util/format.js';
import type { Reporter } from '../../util/reporter.js';
import { explained, type Modal, type Sandbox } from './client.js';
import { helperOf } from './files/helper.js';
import { filesOf } from './layout.js';

/** An update of a large model can take a minute, and saving as long. */
const patienceMs = 180_000;
const lookEveryMs = 1000;

/** @returns the exit code of the run. */
export async function stopRun(modal: Modal, sandbox: Sandbox, name: string, reporter: Reporter): Promise<number> {
  reporter.line(`Asking ${name} to save and stop; at most ${formatSeconds(patienceMs / 1000)}.`);
  return await explained(modal, `stopping ${name}`, async () => {
    await helperOf(modal, sandbox).exec(['sh', '-c', `kill -TERM "$(cat ${filesOf(name).pid})"`]);
    for (const end = Date.now() + patienceMs; Date.now() < end; await sleep(lookEveryMs)) {
      const code = await sandbox.poll();
      if (code !== null) return code;
    }
    reporter.line(`${name} did not stop by itself; ending its sandbox.`);
    return await sandbox.terminate({ wait: true });
  });
}
