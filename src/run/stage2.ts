/**
 * @file Stage 2 of a run: which problems to train on, which checkpoint to start from, what to log and when to save. The
 * training loop itself is stage2/loop.ts.
 */
import { warmupSteps } from '../options/settings.js';
import { greedyAccuracy } from '../policy/evaluate.js';
import { trainedRows } from '../stage1/trained.js';
import { type VStarFile, vStarOf } from '../stage1/v-star-file.js';
import { type Algorithm, algorithms } from '../stage2/algorithm.js';
import { freshProgress, type TrainedRollout, trainPolicy } from '../stage2/loop.js';
import { planBatches, plannedRollouts, type Visit } from '../stage2/plan.js';
import { type CheckpointState, loadCheckpoint, loadPolicy } from '../stage2/resume.js';
import type { StepMetrics } from '../stage2/step-metrics.js';
import { emptyChecksum } from '../util/checksum.js';
import { UserError } from '../util/errors.js';
import { keyedRandom } from '../util/random.js';
import { checkpointModel, saveNewest, startOf } from './checkpoints.js';
import { saveFinal } from './final.js';
import { openLog, readLog } from './logs.js';
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
  const { finished, state } = startOf(folder, job.reporter, plan.length);
  if (finished) {
    loadPolicy(folder.file('final'), policy);
    return plan.length;
  }
  load(run, state);
  policy.loadReference(job.reference.weights.read);
  const metrics = openLog(folder.file('metrics'), state?.logs.metrics ?? emptyChecksum);
  const rollouts = openLog(folder.file('rollouts'), state?.logs.rollouts ?? emptyChecksum);
  const model = checkpointModel(settings, pretrained);
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
        save: (progress) => saveNewest(folder, keep, policy, model, progress, { metrics, rollouts }),
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
