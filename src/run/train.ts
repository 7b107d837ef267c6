/**
 * @file A whole run: evaluate, estimate V*, check that training can learn something, train, evaluate again. Each part writes
 * its file to the run folder and is skipped if that file exists undamaged, so an interrupted run can resume at any point and
 * ends with the same bytes. Damaged files are reported and made again.
 */
import { existsSync, renameSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fingerprintModel } from '../model/checkpoint/pretrained.js';
import { parameterCount } from '../model/network/params.js';
import type { TrainingOptions } from '../options/settings.js';
import { compareEvaluations, readEvaluation } from '../policy/eval-compare.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import { evaluate } from '../policy/evaluate.js';
import type { PlacedPolicy } from '../policy/placed.js';
import { noteFirstToken, type RolloutKit } from '../policy/rollout.js';
import { estimate } from '../stage1/estimate.js';
import { requireFingerprint, requireSameSampler } from '../stage1/fingerprint.js';
import type { Preflight } from '../stage1/preflight.js';
import { probe, probeSize } from '../stage1/probe.js';
import { type Probe, readProbe, writeProbe } from '../stage1/probe-file.js';
import { readVStarFile, type VStarFile, vStarOf, writeVStarFile } from '../stage1/v-star-file.js';
import { type Algorithm, algorithms } from '../stage2/algorithm.js';
import { requireSeal, sealJson } from '../util/checksum.js';
import { exitCodes, UserError } from '../util/errors.js';
import { explainWrites, writeFileAtomic } from '../util/file.js';
import type { Reporter } from '../util/reporter.js';
import { checkpointModel } from './checkpoints.js';
import { judgeSamples, policyTraining } from './core/plan.js';
import type { TrainEvent, TrainRequest, TrainResult } from './events.js';
import { createRunFolder, openRunFolder, type RunFolder, stoppedRun } from './folder.js';
import { type Job, probeRecord, withJob, withPolicy } from './job.js';
import { type LogWriter, openLog, readLog } from './logs.js';
import { readRun, requireSameRun, type StoredRun, writeRun } from './record.js';
import { localSamplers, type RunSamplers, serverSamplers } from './server/samplers.js';
import { trainOrLoad } from './stage2.js';
import { withTensorboard } from './tensorboard/log.js';
import { type Estimated, timeLeft } from './time/left.js';

/** Shared by the parts of a run. */
export interface Run {
  readonly job: Job;
  readonly folder: RunFolder;
  readonly policy: PlacedPolicy;
  /** Samples from the model before training. */
  readonly kit: RolloutKit;
  readonly samplers: RunSamplers;
  readonly timings: LogWriter;
  /** Runs one part and logs its duration. */
  readonly timed: <T>(phase: string, work: () => Promise<T>) => Promise<T>;
  readonly onEvent: (event: TrainEvent) => void;
  readonly signal: AbortSignal;
}

/** @throws UserError for whatever stops the run: exit code 3 after the preflight's verdict, 130 after the signal. */
export async function train(
  request: TrainRequest,
  onEvent: (event: TrainEvent) => void,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<TrainResult> {
  const { engine, install, workers, taskApi, resume } = request;
  const folder = resume ? openRunFolder(request.folder) : createRunFolder(request.folder);
  try {
    const stored = resume ? readRun(folder.file('config')) : undefined;
    const options = stored === undefined ? request.options : resumedOptions(stored.options, request.options);
    requirePlaces(options, workers);
    const known = stored?.engine === 'server' ? undefined : stored?.engine;
    const engineRequest = { engine: known ?? engine, install, workers };
    return await withJob({ options, engineRequest, reporter, signal, taskApi }, (job) =>
      runJob(job, folder, stored, onEvent, signal),
    );
  } catch (error) {
    throw signal.aborted ? stoppedRun('train', request.folder, error) : error;
  } finally {
    folder.release();
  }
}

/**
 * A resumed run keeps its options, except those that do not affect its results: a server may have moved. V* is already in its
 * folder.
 */
export function resumedOptions(stored: TrainingOptions, given: TrainingOptions): TrainingOptions {
  const { force, tensorboard, tinkerUrl = stored.tinkerUrl } = given;
  const { samplerUrl = stored.samplerUrl, apiKeyEnv = stored.apiKeyEnv } = given;
  const kept = { ...stored, force, tensorboard: stored.tensorboard || tensorboard, vStar: undefined, tinkerUrl };
  return stored.samplerUrl === undefined ? kept : { ...kept, samplerUrl, apiKeyEnv };
}

/** @throws UserError (wrong usage) when a server is to sample weights that it cannot get, or workers have nothing to compute. */
export function requirePlaces(
  { samplerUrl, tinkerUrl, loraRank }: TrainingOptions,
  workers: readonly string[] = [],
): void {
  if (tinkerUrl !== undefined && workers.length > 0) {
    throw new UserError('--workers: with --on tinker, the server computes everything', { exitCode: exitCodes.usage });
  }
  if (samplerUrl === undefined || loraRank !== undefined) return;
  throw new UserError(
    {
      problem:
        '--sampler-url: training needs --lora-rank too, since the server receives adapters of the policy, not all of its weights.',
      fix: 'Without it, the server can still sample V*: `tinyzero estimate-vstar --sampler-url URL`, then `tinyzero train --v-star FILE`.',
    },
    { exitCode: exitCodes.usage },
  );
}

async function runJob(
  job: Job,
  folder: RunFolder,
  stored: StoredRun | undefined,
  listener: Run['onEvent'],
  signal: AbortSignal,
): Promise<TrainResult> {
  const { settings, problems, reporter } = job;
  const algorithm: Algorithm = algorithms[settings.algo];

  // Write the record of a new run, or check that a resumed run matches its record.
  const modelHash = fingerprintModel(job.pretrained);
  if (stored === undefined) {
    if (settings.vStar !== undefined) writeVStarFile(folder.file('vStar'), job.vStar);
    if (job.probes !== undefined) writeProbe(folder.file('probe'), probeRecord(job.probes));
    writeRun(folder, job, modelHash);
  } else {
    requireSameRun(folder, stored, job, modelHash).forEach(reporter.line);
  }
  const onEvent = settings.tensorboard ? withTensorboard(folder, listener) : listener;
  onEvent({ kind: 'opened', model: settings.model, engine: job.engine.description, problems });
  const timings = openTimings(folder, reporter);

  try {
    return await withPolicy(
      job,
      [...problems.train, ...problems.test, ...(problems.validation ?? [])],
      policyTraining(settings),
      async ({ policy, kit: untimed }) => {
        const onFirst = () => timings.append({ phase: 'first-token', seconds: process.uptime() });
        const samplers = samplersOf(job, folder, policy, onFirst);
        try {
          const kit = { ...untimed, policy: samplers.base };
          const run: Run = { job, folder, policy, kit, samplers, timings, timed: timedBy(timings), onEvent, signal };
          return await runParts(run, algorithm);
        } finally {
          await samplers.close();
        }
      },
    );
  } finally {
    timings.close();
  }
}

/** The samplers of this run: the policy, or the server, after a test that it accepts adapters. */
function samplersOf(job: Job, folder: RunFolder, policy: PlacedPolicy, onFirst: () => void): RunSamplers {
  const { settings, server, pretrained } = job;
  if (server === undefined) return localSamplers({ policy, settings }, noteFirstToken(policy, onFirst));
  const place = { folder: folder.file('sampler'), model: checkpointModel(settings, pretrained) };
  return serverSamplers(server, { policy, settings }, place);
}

/** The parts of a run. Each is skipped if its file exists. */
async function runParts(run: Run, algorithm: Algorithm): Promise<TrainResult> {
  const { job, folder, timings } = run;
  const { overlap, force } = job.settings;

  // Detects a server that accepts no adapters before it samples anything.
  if (job.server !== undefined) await run.samplers.lagged.refresh();

  // Evaluate before training.
  const before = await evaluated(run, 'before');

  // Stage 1: estimate V* of every problem from the reference, and stop if training has nothing to learn.
  const sampled = algorithm.hasStage1 ? await estimated(run) : undefined;
  const vStar = sampled?.file;
  const verdict = sampled && judged(run, sampled, await probed(run), before);
  if (verdict?.verdict === 'stop' && !force) throw hopeless(folder, verdict);

  // Stage 2: train.
  const { updates, ...ending } = await trainOrLoad(run, vStar);

  // Evaluate after training, on the same problems.
  const after = await evaluated(run, 'after', before);
  folder.requirePresent();
  timings.append({ phase: 'process', ...processFacts(), parameters: parameterCount(job.pretrained.config) });
  const compare = compareEvaluations(after, before);
  return {
    folder: folder.path,
    updates,
    overlap,
    before,
    after,
    compare,
    ...(verdict && { preflight: verdict }),
    ...ending,
  };
}

/** The evaluation before or after training: read from its file, or made now with the current policy. */
async function evaluated(run: Run, when: 'before' | 'after', before?: EvalSummary): Promise<EvalSummary> {
  const { job, folder, samplers, signal } = run;
  const kit = when === 'before' ? run.kit : { ...run.kit, policy: samplers.current };
  const { model, algo, evalSamples: samples } = job.settings;
  const path = folder.file(when === 'before' ? 'evalBefore' : 'evalAfter');
  const stored = undamaged(run, path, () => {
    requireSeal(path);
    return readEvaluation(path);
  });
  const summary =
    stored ??
    (await run.timed(`eval-${when}`, () => {
      const name = when === 'before' ? model : `${model} after ${algo}`;
      return evaluate(kit, job.problems.test, { model: name, samples, signal, reporter: job.reporter });
    }));
  if (stored === undefined) {
    const content = before === undefined ? summary : { ...summary, compare: compareEvaluations(summary, before) };
    folder.requirePresent();
    explainWrites(path, () => writeFileAtomic(path, sealJson(`${JSON.stringify(content, null, 2)}\n`)));
  }
  const seconds = secondsOf(run, `eval-${when}`);
  run.onEvent({ kind: 'evaluated', when, summary, ...(seconds !== undefined && { seconds }) });
  return summary;
}

/** The samples of every training problem. Missing ones are drawn from the reference. */
async function estimated(run: Run): Promise<Estimated> {
  const { job, folder, kit, policy, signal } = run;
  const { settings, problems, fingerprint, reporter } = job;
  const path = folder.file('vStar');
  const known = undamaged(run, path, () => readVStarFile(path)) ?? job.vStar;
  requireFingerprint(path, known, fingerprint);
  const isComplete = ({ id }: { id: string }) => known.entries.get(id)?.rewards.length === settings.numSamples;
  if (problems.train.every(isComplete)) return { file: known };
  requireSameSampler(path, known, fingerprint);
  if (job.reference !== job.pretrained) policy.load(job.reference.weights.read);
  const onGroup = (file: VStarFile) => {
    folder.requirePresent();
    writeVStarFile(path, file);
  };
  const count = (file: VStarFile) =>
    problems.train.reduce((sum, { id }) => sum + (file.entries.get(id)?.rewards.length ?? 0), 0);
  const began = performance.now();
  const file = await run.timed('stage1', () => estimate(kit, problems.train, known, { signal, reporter, onGroup }));
  const seconds = (performance.now() - began) / 1000;
  const completions = count(file) - count(known);
  return { file, drawn: { completions, problems: Math.ceil(completions / settings.numSamples), seconds } };
}

/** The probe that the verdict shows: the one that chose the wording, or a new one of the reference. */
async function probed(run: Run): Promise<Probe> {
  const { job, folder, policy, kit, signal } = run;
  const path = folder.file('probe');
  const stored = undamaged(run, path, () => readProbe(path).probe);
  if (stored !== undefined) return stored;
  if (job.reference !== job.pretrained) policy.load(job.reference.weights.read);
  const seen = await probe(kit, job.problems.train.slice(0, probeSize.problems), probeSize.samples, signal);
  folder.requirePresent();
  writeProbe(path, { probe: seen });
  return seen;
}

function judged(run: Run, estimated: Estimated, seen: Probe, before: EvalSummary): Preflight {
  const { job, folder, onEvent } = run;
  const { file } = estimated;
  const ids = job.problems.train.map(({ id }) => id);
  vStarOf(folder.file('vStar'), file, ids); // throws if a problem lacks samples
  const verdict = judgeSamples(job, file, seen);
  const evaluated = { summary: before, seconds: secondsOf(run, 'eval-before') };
  const left = timeLeft(job, estimated, evaluated, verdict);
  onEvent({ kind: 'preflight', preflight: verdict, ...(left !== undefined && { secondsLeft: left }) });
  return verdict;
}

function hopeless({ path }: RunFolder, { advice }: Preflight): UserError {
  const look = `\`tinyzero report ${path}\` shows the details; \`tinyzero train --resume ${path} --force\` trains anyway.`;
  return new UserError(
    {
      problem: 'Stage 1 found nothing that reinforcement learning could learn from.',
      fix: `${advice.join(' ')} (${look})`,
    },
    { exitCode: exitCodes.preflight },
  );
}

/** Result of `read` for the file at `path`; undefined if the file is missing or damaged. Damage is reported. */
function undamaged<T>({ job }: Run, path: string, read: () => T): T | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return read();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    job.reporter.line(`${error.message} It will be created again.`);
    return undefined;
  }
}

/** Opens the log of timings. No result depends on it, so an unreadable one is set aside. */
function openTimings(folder: RunFolder, reporter: Reporter): LogWriter {
  const path = folder.file('timings');
  const aside = `${path}.damaged`;
  try {
    for (const _ of readLog(path)); // reads every line
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    reporter.line(`${error.message} It was moved to ${aside}; no result depends on it.`);
    explainWrites(aside, () => renameSync(path, aside));
  }
  return openLog(path);
}

/** Resources of this process, for the report. */
function processFacts() {
  return {
    seconds: process.uptime(),
    date: new Date().toISOString(),
    cores: availableParallelism(),
    peakMemory: 1024 * process.resourceUsage().maxRSS,
  };
}

function timedBy(timings: LogWriter): Run['timed'] {
  return async (phase, work) => {
    const start = performance.now();
    const result = await work();
    timings.append({ phase, seconds: (performance.now() - start) / 1000 });
    return result;
  };
}

/** Seconds that a part of the run took, in whichever process. */
function secondsOf({ folder }: Run, phase: string): number | undefined {
  const found = [...readLog(folder.file('timings'))].findLast((record) => record.phase === phase);
  return found === undefined ? undefined : Number(found.seconds);
}
