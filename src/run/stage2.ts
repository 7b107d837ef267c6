/**
 * @file Stage 2 of a run: which problems to train on, which checkpoint to start from, what to log and when to save. The
 * training loop itself is stage2/loop.ts.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { isGguf } from '../model/gguf/open.js';
import { shippedModel } from '../model/shipped.js';
import { warmupSteps } from '../options/settings.js';
import { greedyAccuracy } from '../policy/evaluate.js';
import { trainedRows } from '../stage1/trained.js';
import { type VStarFile, vStarOf } from '../stage1/v-star-file.js';
import { type Algorithm, algorithms } from '../stage2/algorithm.js';
import { freshProgress, type TrainedRollout, trainPolicy } from '../stage2/loop.js';
import { planBatches, plannedRollouts, type Visit } from '../stage2/plan.js';
import {
  type CheckpointModel,
  type CheckpointState,
  loadCheckpoint,
  loadPolicy,
  readCheckpointState,
  requireWhole,
  saveCheckpoint,
} from '../stage2/resume.js';
import type { StepMetrics } from '../stage2/step-metrics.js';
import { emptyChecksum } from '../util/checksum.js';
import { UserError } from '../util/errors.js';
import { explainAsyncWrites } from '../util/file.js';
import { keyedRandom } from '../util/random.js';
import { hasFinal, requireFinal, saveFinal } from './final.js';
import type { RunFolder } from './folder.js';
import { openLog, readLog, requireLog } from './logs.js';
import type { Run } from './train.js';

/**
 * Trains from the newest undamaged checkpoint or from the start; for a finished run, loads its model.
 *
 * @returns the number of updates.
 */
export async function trainOrLoad(run: Run, vStar: VStarFile | undefined): Promise<number> {
  const { job, folder, policy, kit, signal } = run;
  const { settings, problems, pretrained } = job;
  const algorithm: Algorithm = algorithms[settings.algo];
  const plan = planOf(run, algorithm, vStar);

  // Start from the newest undamaged checkpoint.
  const finished = isFinished(run);
  const unchecked = folder.checkpoints().length === 0;
  const state = newestState(run, plan.length);
  if (finished && (unchecked || state?.progress.step === plan.length)) {
    loadPolicy(folder.file('final'), policy);
    return plan.length;
  }
  load(run, state);
  policy.loadReference(job.reference.weights.read);
  const metrics = openLog(folder.file('metrics'), state?.logs.metrics ?? emptyChecksum);
  const rollouts = openLog(folder.file('rollouts'), state?.logs.rollouts ?? emptyChecksum);
  const model: CheckpointModel = {
    configRecord: pretrained.configRecord,
    carryFrom: pretrained.folder,
    adapters: settings.lora && { lora: settings.lora, base: baseReference(settings.model, pretrained.folder) },
  };
  let last = performance.now();
  run.onEvent({ kind: 'stage2', updates: plan.length });

  const values =
    vStar &&
    vStarOf(
      folder.file('vStar'),
      vStar,
      problems.train.map(({ id }) => id),
    );
  const { evalEvery, saveEvery, keep, precision } = settings;
  const isDue = (every: number, step: number) => every > 0 && step % every === 0;
  try {
    await run.timed('stage2', () =>
      trainPolicy({
        kit,
        policy,
        algorithm,
        settings,
        plan,
        precision,
        signal,
        start: state?.progress ?? freshProgress,
        vStarOf: (id) => values!.get(id)!,
        schedule: {
          peak: settings.lr,
          warmupSteps: warmupSteps(settings, plan.length),
          cosine: { steps: plan.length, floor: settings.decayTo },
        },
        evalHeldOut: (step) => (isDue(evalEvery, step) ? greedyAccuracy(kit, problems.test) : undefined),
        onStep: (record, trained) => {
          metrics.append({ ...record });
          for (const rollout of trained) rollouts.append(rolloutRecord(record.step, rollout));
          const seconds = (performance.now() - last) / 1000;
          last = performance.now();
          run.timings.append({ step: record.step, seconds });
          run.onEvent({ kind: 'step', metrics: record, updates: plan.length, seconds });
        },
        saveDue: (step) => isDue(saveEvery, step),
        save: async (progress) => {
          folder.requirePresent();
          metrics.sync();
          rollouts.sync();
          const marks = { metrics: metrics.mark(), rollouts: rollouts.mark() };
          const path = folder.startCheckpoint(progress.step);
          await explainAsyncWrites(path, () => saveCheckpoint(path, policy, model, progress, marks));
          folder.prune(keep);
        },
      }),
    );
  } finally {
    metrics.close();
    rollouts.close();
  }
  folder.requirePresent();
  await saveFinal(folder, policy, model);
  return plan.length;
}

/** The rows that stage 2 trains on, as indices of training problems. */
export function rowsOf({ job }: Pick<Run, 'job'>, vStar: VStarFile | undefined): number[] {
  const { settings, problems } = job;
  const { trainOn, curriculum, seed } = settings;
  const entryOf = (index: number) => vStar?.entries.get(problems.train[index]!.id);
  return trainedRows(problems.rows, entryOf, { trainOn, curriculum, random: () => keyedRandom(seed, 'curriculum') });
}

/** The rollouts of every update. @throws UserError when no problem is left to train on. */
function planOf(run: Run, algorithm: Algorithm, vStar: VStarFile | undefined): Visit[][] {
  const { settings, problems } = run.job;
  const rows = rowsOf(run, vStar).map((index) => problems.train[index]!);
  if (rows.length === 0) {
    throw new UserError({
      problem: `No problem is left to train on with --train-on ${settings.trainOn}.`,
      fix: 'Train on all of them with --train-on all, or choose easier problems.',
    });
  }
  return planBatches(rows, {
    seed: settings.seed,
    batchSize: settings.batchSize,
    groupSize: algorithm.groupSize(settings),
    rollouts: plannedRollouts(settings, { rows: rows.length, problems: problems.train.length }),
  });
}

/** Whether the trained model exists and is undamaged. A damaged one is reported. */
function isFinished({ folder, job }: Run): boolean {
  if (!hasFinal(folder.path)) return false;
  try {
    requireFinal(folder.path);
    return true;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    job.reporter.line(`${error.message} The trained model will be written again.`);
    return false;
  }
}

/**
 * The state of the newest checkpoint that is undamaged and has undamaged logs; undefined if there is none. Damaged
 * checkpoints are reported and set aside.
 */
function newestState({ folder, job }: Run, updates: number): CheckpointState | undefined {
  let newest: CheckpointState | undefined;
  const steps = folder.checkpoints().reverse();
  for (const step of steps) {
    try {
      const state = checkedState(folder, step, updates);
      newest ??= state;
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      job.reporter.line(`${error.message} The checkpoint of update ${step} was moved to ${folder.setAside(step)}.`);
    }
  }
  if (steps.length > 0 && newest === undefined) {
    job.reporter.line('No undamaged checkpoint is left: stage 2 starts from the beginning.');
  }
  return newest;
}

/** @throws UserError naming the damaged file or log. */
function checkedState(folder: RunFolder, step: number, updates: number): CheckpointState {
  const path = folder.checkpointPath(step);
  const state = readCheckpointState(path);
  if (state.progress.step !== step || step > updates) {
    throw new UserError(`${path} claims to be from update ${state.progress.step} of ${updates}.`);
  }
  requireWhole(path, state.files);
  requireLog(folder.file('metrics'), state.logs.metrics);
  requireLog(folder.file('rollouts'), state.logs.rollouts);
  return state;
}

/** Restores the policy from a checkpoint, or to its state before the first update. */
function load({ job, folder, policy, onEvent }: Run, state: CheckpointState | undefined): void {
  if (state === undefined) {
    policy.load(job.pretrained.weights.read);
    policy.loadMoments();
    return;
  }
  const { step } = state.progress;
  loadCheckpoint(folder.checkpointPath(step), policy);
  const history = [...readLog(folder.file('metrics'))].filter((record) => Number(record.step) <= step);
  onEvent({ kind: 'resumed', step, history: history as unknown as StepMetrics[] });
}

/** One line of rollouts.jsonl. */
function rolloutRecord(step: number, { rollout, ...numbers }: TrainedRollout) {
  const { problem, text, finished, score, completionIds } = rollout;
  const graded = { reward: score.reward, exact: score.exact, finished, tokens: completionIds.length };
  return { step, problem: problem.id, completion: text, ...graded, ...numbers };
}

/** Name of an adapter's base model: the hub id as given, otherwise the folder. */
function baseReference(name: string, folder: string): string {
  if (isGguf(name)) return resolve(name);
  return existsSync(name) || shippedModel(name) !== name ? resolve(folder) : name;
}
