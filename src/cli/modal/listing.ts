/** @file Lists the runs on a volume: the record of each, and which of them have a sandbox now. */
import { modalGpus } from '../../options/remote.js';
import { exitCodes } from '../../util/errors.js';
import { parseJson } from '../../util/json.js';
import { explained, type Modal, openVolume } from './client.js';
import { withHelper } from './files/helper.js';
import { type JobRecord, killedCode, timedOutCode } from './layout.js';

export interface RemoteRun extends JobRecord {
  readonly state: 'running' | 'finished' | 'time is up' | 'stopped' | 'nothing to learn' | 'failed' | 'cut off';
  /** Absent while it runs and if it was cut off. */
  readonly exitCode?: number;
  /** For the GPU so far; absent if it does not run. */
  readonly dollars?: number;
}

const states: Readonly<Record<number, RemoteRun['state']>> = {
  [exitCodes.ok]: 'finished',
  [timedOutCode]: 'time is up',
  [killedCode]: 'cut off',
  [exitCodes.interrupted]: 'stopped',
  [exitCodes.preflight]: 'nothing to learn',
};

/** Newest first. */
export async function listRemoteRuns(modal: Modal, volumeName: string): Promise<RemoteRun[]> {
  const { app, volume } = await openVolume(modal, volumeName);
  const running = await explained(modal, 'listing sandboxes', async () => {
    const names = new Set<string>();
    for await (const sandbox of modal.client.sandboxes.list({
      appId: app.appId,
      tags: { tinyzero: 'run', volume: volumeName },
    })) {
      const { run } = await sandbox.getTags();
      if (run !== undefined) names.add(run);
    }
    return names;
  });
  // A line for each run: its record, then its exit code if it has one.
  const script =
    'for job in .modal/*/job.json; do [ -f "$job" ] || continue; tr -d "\\n" < "$job"; printf "\\t"; cat "$(dirname "$job")/exit" 2>/dev/null || echo; done';
  const { stdout } = await withHelper(modal, { app, volume }, (helper) => helper.exec(['sh', '-c', script]));
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => entry(line, running))
    .sort((a, b) => (a.started < b.started ? 1 : -1));
}

function entry(line: string, running: ReadonlySet<string>): RemoteRun {
  const [text = '', exit = ''] = line.split('\t');
  const record = parseJson(text) as JobRecord;
  if (running.has(record.name)) {
    const hours = (Date.now() - Date.parse(record.started)) / 3600_000;
    const { dollarsPerHour } = modalGpus[record.gpu as keyof typeof modalGpus];
    return { ...record, state: 'running', dollars: hours * dollarsPerHour };
  }
  if (exit === '') return { ...record, state: 'cut off' };
  return { ...record, state: states[Number(exit)] ?? 'failed', exitCode: Number(exit) };
}
