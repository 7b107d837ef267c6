/**
 * @file A run on Modal: makes the image, sends what the run needs, starts its sandbox, follows it, stops it, brings the
 * results here and explains how it ended. Once the sandbox has started, the run does not need this machine.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hubSettings } from '../../model/hub/repo.js';
import { options } from '../../options/table.js';
import { shellWord } from '../../report/command.js';
import { runFiles } from '../../run/folder.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { formatSeconds } from '../../util/format.js';
import { parseJson } from '../../util/json.js';
import { packageVersion } from '../../util/machine.js';
import type { Reporter } from '../../util/reporter.js';
import {
  type App,
  explained,
  type Image,
  type Modal,
  openModal,
  openVolume,
  type Sandbox,
  type Volume,
} from './client.js';
import { followSandbox } from './follow.js';
import { type Helper, helperOf, withHelper } from './helper.js';
import { openImage } from './image.js';
import { describePlan, formatDuration, type RemoteJob } from './job.js';
import {
  appName,
  filesOf,
  hubCache,
  type JobRecord,
  killedCode,
  type Link,
  makesRun,
  mountPath,
  parseJobRecord,
  type RemoteCommand,
  sandboxProgram,
  timedOutCode,
} from './layout.js';
import { isMetrics, type Replay, type RunMetrics, replay } from './replay.js';
import { fetchFolder, send } from './transfer.js';

export interface Finished {
  /** The result that the command printed there. */
  readonly result: Replay['result'];
  readonly exitCode: number;
}

/**
 * Runs `job` and waits for its end, unless it is detached; then the result is undefined.
 *
 * @param into where the files are brought; undefined: nowhere. @throws UserError
 */
export async function runJob(
  job: RemoteJob,
  { into, json }: { readonly into: string | undefined; readonly json: boolean },
  reporter: Reporter,
  signal: AbortSignal,
): Promise<Finished | undefined> {
  const modal = await openModal();
  describePlan(job).forEach(reporter.line);
  const opened = await openVolume(modal, job.volume);
  signal.throwIfAborted();
  const image = await openImage(modal, opened, reporter, signal);
  const { links, earlier } = await withHelper(modal, { ...opened, image }, (helper) =>
    prepare(helper, job, reporter, signal),
  );
  signal.throwIfAborted();
  const sandbox = await startSandbox(modal, job, { ...opened, image }, links, reporter);
  if (job.detach) return undefined;
  reporter.line(`${job.name} is running on Modal and does not need this machine. Ctrl-C saves and stops it.`);
  const shown = replay(reporter, json, earlier, job.args.includes('tensorflow') ? job.name : undefined);
  let exitCode: number;
  try {
    exitCode = await followSandbox(modal, sandbox, job.name, shown.line, reporter, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    shown.end();
    exitCode = await stopRun(modal, sandbox, job.name, reporter);
  } finally {
    shown.end();
  }
  // The files of a run that ended by itself are complete, even if stage 1 found nothing to learn.
  const isWhole = exitCode === exitCodes.ok || exitCode === exitCodes.preflight;
  if (isWhole && into !== undefined) {
    await withHelper(modal, opened, (helper) => fetchFolder(helper, job.name, into, reporter, signal));
  }
  if (exitCode !== exitCodes.ok) throw endedBy(exitCode, job, shown.error);
  return { result: shown.result, exitCode };
}

/** Uploads what the run needs. @returns the uploaded files, and the metrics of a resumed run. */
async function prepare(helper: Helper, job: RemoteJob, reporter: Reporter, signal: AbortSignal) {
  const { name, resume, resumed } = job;
  const begun = (await helper.exec(['test', '-e', join(name, runFiles.config)])).code === 0;
  if (begun && !resume && makesRun(job.command)) {
    throw new UserError({
      problem: `The volume ${job.volume} already contains a run ${name}.`,
      fix: `Resume it with \`tinyzero ${job.command} --on modal --resume ${job.output}\`, or choose another --out.`,
    });
  }
  if (resume && !begun && resumed === undefined) {
    throw new UserError({
      problem: `There is no run ${name} on the volume ${job.volume} or in ${job.output}.`,
      fix: 'List the runs with `tinyzero modal ls`.',
    });
  }
  if (resumed !== undefined && !begun) await send(helper, resumed, reporter, name);
  const { folder, job: path } = filesOf(name);
  const links: Link[] = begun && resume ? [...((await readRecord(helper, name))?.links ?? [])] : [];
  for (const input of links.length > 0 ? [] : job.inputs) {
    signal.throwIfAborted();
    links.push({ path: input.path, place: await send(helper, input, reporter) });
  }
  const record: JobRecord = {
    ...{ name, command: job.command, gpu: job.gpu, timeoutSeconds: job.timeoutSeconds, links },
    started: new Date().toISOString(),
    version: packageVersion(),
  };
  const bytes = Buffer.from(`${JSON.stringify(record)}\n`);
  await helper.exec(['sh', '-c', `mkdir -p ${folder} && cat > ${path}`], { input: once(bytes) });
  return { links, earlier: resume ? await readMetrics(helper, name) : [] };
}

/** The record of a run; undefined if the volume has no run of this name. */
export async function readRecord(helper: Helper, name: string): Promise<JobRecord | undefined> {
  const { code, stdout } = await helper.exec(['cat', filesOf(name).job]);
  return code === 0 ? parseJobRecord(stdout) : undefined;
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/** The metrics of the updates that a run has made, for its curves. */
export async function readMetrics(helper: Helper, name: string): Promise<RunMetrics[]> {
  const { stdout } = await helper.exec(['sh', '-c', `cat ${join(name, runFiles.metrics)} 2>/dev/null || true`]);
  return stdout.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [parseJson(line)].filter(isMetrics);
    } catch {
      return []; // an incomplete line of a killed run, which repeats the update
    }
  });
}

/** Processor cores and memory besides the GPU: Modal's default is an eighth of a core. */
const besides = { cpu: 4, memoryMiB: 16_384 };

async function startSandbox(
  modal: Modal,
  job: RemoteJob,
  { app, volume, image }: { readonly app: App; readonly volume: Volume; readonly image: Image },
  links: readonly Link[],
  reporter: Reporter,
): Promise<Sandbox> {
  const { client, sdk } = modal;
  const { token, endpoint } = hubSettings();
  const secrets = token === undefined ? [] : [await client.secrets.fromObject({ HF_TOKEN: token })];
  reporter.line(`Waiting for a GPU (${job.gpu}).`);
  return await explained(modal, `starting a sandbox with ${job.gpu}`, async () => {
    try {
      return await client.sandboxes.create(app, image, {
        name: job.name,
        command: sandboxProgram({ ...job, links }),
        gpu: job.gpu,
        ...besides,
        timeoutMs: job.timeoutSeconds * 1000,
        workdir: mountPath,
        volumes: { [mountPath]: volume },
        env: { HF_HOME: `${mountPath}/${hubCache}`, HF_ENDPOINT: endpoint, NO_COLOR: '1' },
        secrets,
        tags: { tinyzero: 'run', run: job.name, volume: job.volume },
      });
    } catch (error) {
      if (!(error instanceof sdk.AlreadyExistsError)) throw error;
      throw new UserError(
        {
          problem: `${job.name} is already running in the app ${appName}.`,
          fix: `Follow it with \`tinyzero modal logs ${job.name}\`, or end it with \`tinyzero modal stop ${job.name}\`.`,
        },
        { cause: error },
      );
    }
  });
}

/** An update of a large model can take a minute, and saving another. */
const stopLimitMs = 180_000;
const pollEveryMs = 1000;

/** @returns the exit code of the run. */
export async function stopRun(modal: Modal, sandbox: Sandbox, name: string, reporter: Reporter): Promise<number> {
  reporter.line(`Asking ${name} to save and stop; this takes at most ${formatSeconds(stopLimitMs / 1000)}.`);
  return await explained(modal, `stopping ${name}`, async () => {
    await helperOf(modal, sandbox).exec(['sh', '-c', `kill -TERM "$(cat ${filesOf(name).pid})"`]);
    for (const end = Date.now() + stopLimitMs; Date.now() < end; await sleep(pollEveryMs)) {
      const code = await sandbox.poll();
      if (code !== null) return code;
    }
    reporter.line(`${name} did not stop by itself; ending its sandbox.`);
    return await sandbox.terminate({ wait: true });
  });
}

interface EndedJob {
  readonly name: string;
  readonly command: RemoteCommand;
  readonly timeoutSeconds: number;
  readonly volume: string;
  /** Folder of the run here. */
  readonly output: string;
}

/** The error for exit code `code`; `said`: its last event `error`. */
export function endedBy(code: number, job: EndedJob, said: Replay['error']): UserError {
  const { name, timeoutSeconds } = job;
  const onwards = resumeCommand(job);
  if (code === timedOutCode) {
    return new UserError({
      problem: `${name} was saved and stopped: it reached its time limit of ${formatDuration(timeoutSeconds)}.`,
      fix: `Resume it with \`${onwards}\`; --timeout sets the limit.`,
    });
  }
  if (code === exitCodes.interrupted) {
    return new UserError(
      { problem: `${name} is stopped and saved on the volume ${job.volume}.`, fix: `Resume it with \`${onwards}\`.` },
      { exitCode: exitCodes.interrupted },
    );
  }
  // A process is killed by the sandbox's end, or by the system when memory runs out.
  if (code === killedCode || said === undefined) {
    return new UserError({
      problem: `${name} was killed (exit code ${code}): its sandbox ended, or it ran out of memory.`,
      fix: `What it saved is on the volume. Read the end of \`tinyzero modal logs ${name}\`, and resume with \`${onwards}\`.`,
    });
  }
  return new UserError(`${name} ended on Modal: ${said.message}`, { exitCode: said.exitCode });
}

function resumeCommand({ output, command, volume }: Omit<EndedJob, 'timeoutSeconds'>): string {
  const where = volume === options.volume.default ? '' : ` --volume ${volume}`;
  return makesRun(command)
    ? `tinyzero ${command} --on modal --resume ${shellWord(output)}${where}`
    : 'the same command';
}
