/**
 * @file A whole run: problems, evaluation before, stage 1, preflight, stage 2, evaluation after, the trained model. Each
 * part leaves its file in the run folder when it is done and is skipped when that file is there, so a run that was
 * stopped at any moment goes on and ends with the same bytes.
 */
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fingerprintModel } from '../model/checkpoint/pretrained.js';
import type { TrainingOptions } from '../options/settings.js';
import { compareEvaluations, readEvaluation } from '../policy/eval-compare.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import { evaluate, greedyAccuracy } from '../policy/evaluate.js';
import type { Policy } from '../policy/policy.js';
import { noteFirstToken, type RolloutKit } from '../policy/rollout.js';
import { estimate } from '../stage1/estimate.js';
import { type Preflight, preflight } from '../stage1/preflight.js';
import {
  deriveVStar,
  readVStarFile,
  requireFingerprint,
  type VStarFile,
  vStarOf,
  writeVStarFile,
} from '../stage1/v-star-file.js';
import { type Algorithm, algorithms } from '../stage2/algorithm.js';
import { freshProgress, type Progress, trainPolicy } from '../stage2/loop.js';
import { planBatches, plannedRollouts } from '../stage2/plan.js';
import { loadCheckpoint, loadPolicy, readCheckpointState, saveCheckpoint, savePolicy } from '../stage2/resume.js';
import type { StepMetrics } from '../stage2/step-metrics.js';
import { exitCodes, UserError } from '../util/errors.js';
import { writeFileAtomic } from '../util/file.js';
import type { Reporter } from '../util/reporter.js';
import { packageVersion } from '../util/version.js';
import { explainAsyncWrites, explainWrites } from '../util/write.js';
import type { TrainEvent, TrainRequest, TrainResult } from './events.js';
import { createRunFolder, openRunFolder, type RunFolder } from './folder.js';
import { type Job, openJob, openPolicy } from './job.js';
import { type LogWriter, openLog, readLog } from './logs.js';
import { readRun, requireSameRun, type StoredRun, writeRun } from './record.js';
import { withTensorboard } from './tensorboard.js';

interface Run {
  readonly job: Job;
  readonly folder: RunFolder;
  readonly policy: Policy;
  readonly kit: RolloutKit;
  readonly timings: LogWriter;
  readonly onEvent: (event: TrainEvent) => void;
  readonly signal: AbortSignal;
}

/** @throws UserError for whatever stops the run; with exit code 3 the preflight's verdict, with 130 the signal. */
export async function train(
  request: TrainRequest,
  onEvent: (event: TrainEvent) => void,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<TrainResult> {
  const folder = request.resume ? openRunFolder(request.folder) : createRunFolder(request.folder);
  try {
    const stored = request.resume ? readRun(folder.file('config')) : undefined;
    const options = stored === undefined ? request.options : resumedOptions(stored.options, request.options);
    const engineRequest = { engine: stored?.engine ?? request.engine, install: request.install };
    const job = await openJob({ options, engineRequest, reporter, signal, taskApi: request.taskApi });
    try {
      return await runJob(job, folder, stored, onEvent, signal);
    } finally {
      job.close();
    }
  } catch (error) {
    if (!signal.aborted || !existsSync(folder.file('config'))) throw error;
    throw new UserError(
      { problem: 'Stopped.', fix: `Continue with \`tinyzero train --resume ${request.folder}\`.` },
      { exitCode: exitCodes.interrupted, cause: error },
    );
  } finally {
    folder.release();
  }
}

/** A run goes on with its own options, save those that change nothing about it. */
function resumedOptions(stored: TrainingOptions, { force, tensorboard }: TrainingOptions): TrainingOptions {
  return { ...stored, force, tensorboard: stored.tensorboard || tensorboard };
}

async function runJob(
  job: Job,
  folder: RunFolder,
  stored: StoredRun | undefined,
  tell: Run['onEvent'],
  signal: AbortSignal,
): Promise<TrainResult> {
  const { settings, problems } = job;
  const onEvent = settings.tensorboard ? withTensorboard(folder, tell) : tell;
  const modelHash = fingerprintModel(job.pretrained);
  if (stored === undefined) writeRun(folder, job, modelHash);
  else requireSameRun(folder, stored, job, modelHash);
  onEvent({ kind: 'opened', model: settings.model, engine: job.engine.description, problems });
  const { batchSize, microBatch, optimizer, maxGradientNorm } = settings;
  const algorithm: Algorithm = algorithms[settings.algo];
  const { policy, kit: untimed } = openPolicy(job, [...problems.train, ...problems.test], {
    batchSize,
    microBatch,
    optimizer,
    maxGradientNorm,
    loss: (arithmetic, row) => algorithm.loss(arithmetic, row, settings),
  });
  const timings = openLog(folder.file('timings'));
  const onFirst = () => timings.append({ phase: 'first-token', seconds: process.uptime() });
  const kit = { ...untimed, policy: noteFirstToken(policy, onFirst) };
  const run: Run = { job, folder, policy, kit, timings, onEvent, signal };
  try {
    const before = await evaluated(run, 'before');
    const estimated = algorithms[settings.algo].needsVStar ? await stage1(run) : undefined;
    const updates = await stage2(run, estimated);
    const after = await evaluated(run, 'after', before);
    const compare = compareEvaluations(after, before);
    const { overlap } = settings;
    const verdict = estimated && { preflight: estimated.verdict };
    return { folder: folder.path, updates, overlap, before, after, compare, ...verdict };
  } finally {
    timings.close();
    policy.dispose();
  }
}

/** The evaluation before or after training: from its file, or made now with the policy as it is. */
async function evaluated(run: Run, when: 'before' | 'after', before?: EvalSummary): Promise<EvalSummary> {
  const { job, folder, kit, signal } = run;
  const path = folder.file(when === 'before' ? 'evalBefore' : 'evalAfter');
  let summary: EvalSummary;
  if (existsSync(path)) summary = readEvaluation(path);
  else {
    const model = when === 'before' ? job.settings.model : `${job.settings.model} after ${job.settings.algo}`;
    summary = await timed(run, `eval-${when}`, () =>
      evaluate(kit, job.problems.test, { model, samples: job.settings.evalSamples, signal, reporter: job.reporter }),
    );
    const content = before === undefined ? summary : { ...summary, compare: compareEvaluations(summary, before) };
    explainWrites(path, () => writeFileAtomic(path, `${JSON.stringify(content, null, 2)}\n`));
  }
  const seconds = secondsOf(run, `eval-${when}`);
  run.onEvent({ kind: 'evaluated', when, summary, ...(seconds !== undefined && { seconds }) });
  return summary;
}

interface Stage1Result {
  readonly vStar: ReadonlyMap<string, number>;
  readonly solved: ReadonlySet<string>;
  readonly verdict: Preflight;
}

/** V* of every training problem, sampled from the reference unless a file has it, and what that promises. */
async function stage1(run: Run): Promise<Stage1Result> {
  const { job, folder, kit, policy, signal } = run;
  const { settings, problems, fingerprint } = job;
  const { beta1, numSamples, keepUnsolved, force } = settings;
  const path = folder.file('vStar');
  const ids = problems.train.map(({ id }) => id);
  let file = startingVStar(run);
  if (problems.train.some(({ id }) => (file.entries.get(id)?.rewards.length ?? 0) < numSamples)) {
    if (job.reference !== job.pretrained) policy.load(job.reference.weights.read);
    file = await timed(run, 'stage1', () =>
      estimate(kit, problems.train, file, {
        signal,
        reporter: job.reporter,
        onGroup: (known) => explainWrites(path, () => writeVStarFile(path, known)),
      }),
    );
  }
  requireFingerprint(path, file, fingerprint);
  const vStar = vStarOf(path, file, ids);
  const entries = ids.map((id) => file.entries.get(id)!);
  const verdict = preflight(entries, { beta1, keepUnsolved });
  run.onEvent({ kind: 'preflight', preflight: verdict });
  if (verdict.verdict === 'stop' && !force) {
    throw new UserError(
      {
        problem: 'Stage 1 says that reinforcement learning has nothing to learn from here.',
        fix: `${verdict.advice.join(' ')} (\`tinyzero report ${folder.path}\` shows what it found; \`--resume ${folder.path} --force\` goes on all the same.)`,
      },
      { exitCode: exitCodes.preflight },
    );
  }
  const solved = new Set(ids.filter((id) => file.entries.get(id)!.exact.includes(true)));
  return { vStar, solved, verdict };
}

/** What is known of V* before sampling: the run's own file, the file that was given, or nothing. */
function startingVStar({ job, folder }: Run): VStarFile {
  const { vStar, beta1, numSamples: samples } = job.settings;
  const own = folder.file('vStar');
  if (existsSync(own)) return readVStarFile(own);
  const { fingerprint } = job;
  if (vStar === undefined) {
    return { createdBy: `tinyzero ${packageVersion()}`, fingerprint, beta1, samples, entries: new Map() };
  }
  const given = readVStarFile(vStar);
  requireFingerprint(vStar, given, fingerprint);
  const file = deriveVStar(vStar, given, { beta1, samples });
  explainWrites(own, () => writeVStarFile(own, file));
  return file;
}

/** Trains from the last checkpoint, or from the start; a finished run only loads its model. */
async function stage2(run: Run, estimated: Stage1Result | undefined): Promise<number> {
  const { job, folder, policy, kit, signal } = run;
  const { settings, problems, pretrained, reference } = job;
  const { keepUnsolved, evalEvery, saveEvery, keep, precision, seed, batchSize } = settings;
  const algorithm: Algorithm = algorithms[settings.algo];
  const rows = problems.rows
    .map((index) => problems.train[index]!)
    .filter(({ id }) => keepUnsolved || estimated === undefined || estimated.solved.has(id));
  if (rows.length === 0) {
    throw new UserError({
      problem: 'No problem is left to train on: stage 1 solved none.',
      fix: 'Train on them all the same with --keep-unsolved, or take easier problems.',
    });
  }
  const plan = planBatches(rows, {
    seed,
    batchSize,
    groupSize: algorithm.groupSize(settings),
    rollouts: plannedRollouts(settings, { rows: rows.length, problems: problems.train.length }),
  });
  const final = folder.file('final');
  if (existsSync(join(final, 'config.json'))) {
    loadPolicy(final, policy);
    return plan.length;
  }

  const { progress: start, logs } = restore(run, plan.length);
  policy.loadReference(reference.weights.read);
  const metrics = openLog(folder.file('metrics'), logs.metrics);
  const rollouts = openLog(folder.file('rollouts'), logs.rollouts);
  const model = { configRecord: pretrained.configRecord, carryFrom: pretrained.folder };
  let last = performance.now();
  run.onEvent({ kind: 'stage2', updates: plan.length });
  try {
    await timed(run, 'stage2', () =>
      trainPolicy({
        ...{ kit, policy, algorithm, settings, plan, start, precision, signal },
        vStarOf: (id) => estimated!.vStar.get(id)!,
        schedule: {
          peak: settings.lr,
          warmupSteps: settings.warmupSteps,
          cosine: { steps: plan.length, floor: settings.decayTo },
        },
        lookAtHeldOut: (step) =>
          evalEvery > 0 && step % evalEvery === 0 ? greedyAccuracy(kit, problems.test) : undefined,
        onStep: (record, trained) => {
          metrics.append({ ...record });
          for (const { rollout, ...numbers } of trained) {
            const { problem, text, finished, score, completionIds } = rollout;
            const graded = { reward: score.reward, exact: score.exact, finished, tokens: completionIds.length };
            rollouts.append({ step: record.step, problem: problem.id, completion: text, ...graded, ...numbers });
          }
          const seconds = (performance.now() - last) / 1000;
          last = performance.now();
          run.timings.append({ step: record.step, seconds });
          run.onEvent({ kind: 'step', metrics: record, updates: plan.length, seconds });
        },
        saveDue: (step) => saveEvery > 0 && step % saveEvery === 0,
        save: async (progress) => {
          metrics.sync();
          rollouts.sync();
          const sizes = { metrics: metrics.size(), rollouts: rollouts.size() };
          const path = folder.startCheckpoint(progress.step);
          await explainAsyncWrites(path, () => saveCheckpoint(path, policy, model, progress, sizes));
          folder.prune(keep);
        },
      }),
    );
  } finally {
    metrics.close();
    rollouts.close();
  }
  await explainAsyncWrites(final, () => savePolicy(final, policy, model));
  return plan.length;
}

/** The newest checkpoint put back into the policy, or a fresh start. */
function restore({ job, folder, policy, onEvent }: Run, updates: number) {
  const step = folder.checkpoints().at(-1);
  if (step === undefined) {
    policy.load(job.pretrained.weights.read);
    policy.loadMoments();
    return { progress: freshProgress, logs: { metrics: 0, rollouts: 0 } };
  }
  const checkpoint = folder.checkpointPath(step);
  const state: { progress: Progress; logs: { metrics: number; rollouts: number } } = readCheckpointState(checkpoint);
  if (state.progress.step !== step || step > updates) {
    throw new UserError({
      problem: `${basename(checkpoint)} says it was made after update ${state.progress.step} of ${updates}.`,
      fix: `Remove ${checkpoint} to go on from the one before, or start a new run.`,
    });
  }
  loadCheckpoint(checkpoint, policy);
  const history = [...readLog(folder.file('metrics'))].filter((record) => Number(record.step) <= step);
  onEvent({ kind: 'resumed', step, history: history as unknown as StepMetrics[] });
  return state;
}

async function timed<T>({ timings }: Run, phase: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await work();
  timings.append({ phase, seconds: (performance.now() - start) / 1000 });
  return result;
}

/** What a part of the run took, whichever process did it. */
function secondsOf({ folder }: Run, phase: string): number | undefined {
  const found = [...readLog(folder.file('timings'))].findLast((record) => record.phase === phase);
  return found === undefined ? undefined : Number(found.seconds);
}
