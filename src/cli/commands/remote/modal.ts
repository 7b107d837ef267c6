/** @file `tinyzero modal`: lists, follows, fetches and stops the runs on Modal, from any machine with the same account. */
import { join } from 'node:path';
import { modalGpus } from '../../../options/machines.js';
import type { CommonOptionName } from '../../../options/names.js';
import type { OptionValues } from '../../../options/table.js';
import { exitCodes, UserError } from '../../../util/errors.js';
import { formatBytes } from '../../../util/format.js';
import { hasKey } from '../../../util/keys.js';
import { explained, type Modal, openModal, openVolume, runningSandbox } from '../../modal/client.js';
import { followSandbox } from '../../modal/follow.js';
import { helperOf, withHelper } from '../../modal/helper.js';
import { formatDuration } from '../../modal/job.js';
import { filesOf, type JobRecord, killedCode, parseJobRecord, timedOutCode } from '../../modal/layout.js';
import { replay } from '../../modal/replay.js';
import { endedBy, readMetrics, readRecord, stopRun } from '../../modal/run.js';
import { fetchFolder } from '../../modal/transfer.js';
import { interruptible } from '../../terminal/interrupt.js';
import { printResult } from '../../terminal/output.js';
import type { Paint } from '../../terminal/paint.js';
import { consoleReporter } from '../../terminal/progress.js';
import { tableLines } from '../../terminal/table.js';

type Values = OptionValues<'volume' | 'json' | CommonOptionName>;

export async function list({ volume, json }: Values): Promise<number> {
  const runs = await listRemoteRuns(await openModal(), volume);
  printResult(json, { volume, runs }, (paint) =>
    runs.length === 0
      ? [`There are no runs on the volume ${volume}. Start one with \`tinyzero train --on modal\`.`]
      : describeRuns(runs, paint),
  );
  return exitCodes.ok;
}

function describeRuns(runs: readonly RemoteRun[], paint: Paint): string[] {
  const rows = runs.map((run) => [
    run.name,
    run.command,
    // Swedish dates have the format of ISO 8601.
    new Date(run.started).toLocaleString('sv-SE', { dateStyle: 'short', timeStyle: 'short' }),
    `${run.gpu}, ${formatDuration(run.timeoutSeconds)}`,
    run.dollars === undefined ? run.state : `${run.state}, $${run.dollars.toFixed(2)} so far`,
  ]);
  const [head, ...lines] = tableLines([['run', 'command', 'started', 'GPU, time', 'state'], ...rows]);
  return [paint.faint(head!), ...lines];
}

export async function logs({ volume, json, quiet }: Values, [name = '']: readonly string[]): Promise<number> {
  const reporter = consoleReporter({ quiet, json });
  const modal = await openModal();
  const sandbox = await runningSandbox(modal, name);
  return await interruptible(async (signal) => {
    if (sandbox !== undefined) {
      const helper = helperOf(modal, sandbox);
      const record = await readRecord(helper, name);
      const shown = replay(reporter, json, await readMetrics(helper, name));
      try {
        const code = await followSandbox(modal, sandbox, name, shown.line, reporter, signal);
        return conclude({ name, volume, json, record }, code, shown.result, shown.error);
      } finally {
        shown.end();
      }
    }
    const opened = await openVolume(modal, volume);
    const { log, exit, record } = await withHelper(modal, opened, async (helper) => {
      const files = filesOf(name);
      const read = await helper.exec(['cat', files.log]);
      if (read.code !== 0) throw noRun(name, volume);
      const exit = (await helper.exec(['cat', files.exit])).stdout.trim();
      return { log: read.stdout, exit, record: await readRecord(helper, name) };
    });
    const shown = replay(reporter, json);
    log.split('\n').forEach(shown.line);
    shown.end();
    return conclude({ name, volume, json, record }, exit === '' ? undefined : Number(exit), shown.result, shown.error);
  });
}

interface LoggedRun {
  readonly name: string;
  readonly volume: string;
  readonly json: boolean;
  readonly record: JobRecord | undefined;
}

/** The end of a log: what became of the run. @param code undefined: its sandbox was cut off. */
function conclude(
  { name, volume, json, record }: LoggedRun,
  code: number | undefined,
  result: ReturnType<typeof replay>['result'],
  error: ReturnType<typeof replay>['error'],
): number {
  if (code !== exitCodes.ok) {
    const { command = 'train', timeoutSeconds = 0 } = record ?? {};
    const job = { name, volume, command, timeoutSeconds, output: join('runs', name) };
    printResult(json, { run: name, exitCode: code ?? null, error: error ?? null }, () => [
      endedBy(code ?? 137, job, error).message,
    ]);
    return exitCodes.ok;
  }
  printResult(json, { run: name, exitCode: code, ...(result !== undefined && { result }) }, () => [
    `${name} is finished. Fetch its files with \`tinyzero modal get ${name}\`.`,
  ]);
  return exitCodes.ok;
}

export async function get({ volume, json, quiet }: Values, [name = '', folder]: readonly string[]): Promise<number> {
  const reporter = consoleReporter({ quiet, json });
  const into = folder ?? join('runs', name);
  const modal = await openModal();
  const bytes = await interruptible(async (signal) => {
    const opened = await openVolume(modal, volume);
    return await withHelper(modal, opened, (helper) => fetchFolder(helper, name, into, reporter, signal));
  });
  printResult(json, { run: name, folder: into, bytes }, () => [
    bytes === 0 ? `${into} is already complete.` : `${into}: ${formatBytes(bytes)} received.`,
  ]);
  return exitCodes.ok;
}

export async function stop({ volume, json, quiet }: Values, [name = '']: readonly string[]): Promise<number> {
  const reporter = consoleReporter({ quiet, json });
  const modal = await openModal();
  const sandbox = await runningSandbox(modal, name);
  if (sandbox === undefined) throw noRun(name, volume, 'is running');
  const exitCode = await stopRun(modal, sandbox, name, reporter);
  printResult(json, { run: name, exitCode }, () => [
    exitCode === exitCodes.ok ? `${name} had just finished.` : `${name} is stopped. What it saved is on the volume.`,
  ]);
  return exitCodes.ok;
}

function noRun(name: string, volume: string, what = `is on the volume ${volume}`): UserError {
  return new UserError({ problem: `No run ${name} ${what}.`, fix: 'List the runs with `tinyzero modal ls`.' });
}

interface RemoteRun extends JobRecord {
  readonly state: 'running' | 'finished' | 'time is up' | 'stopped' | 'nothing to learn' | 'failed' | 'cut off';
  /** Absent while it runs and if it was cut off. */
  readonly exitCode?: number;
  /** Cost of the GPU so far; absent if the run has ended. */
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
async function listRemoteRuns(modal: Modal, volumeName: string): Promise<RemoteRun[]> {
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
  const record = parseJobRecord(text);
  if (running.has(record.name)) {
    const hours = (Date.now() - Date.parse(record.started)) / 3600_000;
    const { gpu } = record;
    const dollars = hasKey(modalGpus, gpu) ? { dollars: hours * modalGpus[gpu].dollarsPerHour } : {};
    return { ...record, state: 'running', ...dollars };
  }
  if (exit === '') return { ...record, state: 'cut off' };
  return { ...record, state: states[Number(exit)] ?? 'failed', exitCode: Number(exit) };
}
