/**
 * @file Stage 2 of a run: which problems to train on, which checkpoint to start from, what to log and when to save. The
 * training loop itself is stage2/loop.ts.
 */
import type { Problem } from '../data/problem.js';
import { newestKept, warmupSteps } from '../options/settings.js';
import { greedyAccuracy } from '../policy/evaluate.js';
import { type VStarFile, vStarOf } from '../stage1/v-star-file.js';
import { type Algorithm, algorithms } from '../stage2/algorithm.js';
import { type CheckpointState, loadCheckpoint, loadPolicy, loadSampler, loadTracked } from '../stage2/checkpoint.js';
import type { LaggedSampler } from '../stage2/lagged.js';
import { freshProgress, type TrainedRollout, trainPolicy } from '../stage2/loop.js';
import type { StepMetrics } from '../stage2/step-metrics.js';
import { bestOf, flatAt, type History, isFlat } from '../stage2/step-metrics.js';
import { openTracker, type ValueTracker } from '../stage2/value-tracker.js';
import { emptyChecksum } from '../util/checksum.js';
import { UserError } from '../util/errors.js';
import { checkpointModel, loadBest, saveBest, saveFinal, saveNewest, startOf } from './checkpoints.js';
import { planOf, rowsOf, scheduleOf } from './core/plan.js';
import type { TrainResult } from './events.js';
import type { RunFolder } from './folder.js';
import { openLog, readLog } from './logs.js';
import type { Run } from './train.js';

/** How stage 2 ended. */
export type Ending = Pick<TrainResult, 'updates' | 'stopped' | 'best'>;

/** Trains from the newest undamaged checkpoint or from the start; for a finished run, loads its model. */
export async function trainOrLoad(run: Run, vStar: VStarFile | undefined): Promise<Ending> {
  const { job, folder, policy, signal } = run;
  const kit = { ...run.kit, policy: run.samplers.current };
  const { settings, problems, pretrained } = job;
  const algorithm: Algorithm = algorithms[settings.algo];
  const rows = rowsOf(job, vStar);
  const plan = planOf(job, rows);
  const warmup = warmupSteps(settings, plan.length);
  const flat = settings.stopWhenFlat === undefined ? undefined : { window: settings.stopWhenFlat, after: warmup };
  const endOf = (history: History): Ending => {
    const updates = history.length;
    const best = settings.keep === 'best' ? bestOf(history) : undefined;
    return { updates, ...(updates < plan.length && { stopped: 'flat' }), ...(best && { best }) };
  };

  // Start from the newest undamaged checkpoint.
  const recorded = flat === undefined ? undefined : flatAt(historyOf(folder), flat);
  const { finished, state } = startOf(folder, job.reporter, recorded ?? plan.length);
  if (finished) {
    loadPolicy(folder.file('final'), policy);
    return endOf(historyOf(folder));
  }
  const { refreshEvery } = settings;
  const lags = (step: number) => step % refreshEvery !== 0;
  const { lagged: sampler, tolerance } = run.samplers;
  await load(run, sampler, state);
  const tracker = algorithm.tracksValues ? trackerOf(run, rows, vStar!, state) : undefined;
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
  const { evalEvery, saveEvery, keep } = settings;
  const isDue = (every: number, step: number) => every > 0 && step % every === 0;
  const history: StepMetrics[] = historyOf(folder);
  const isOver = (steps: History) => flat !== undefined && isFlat(steps, flat);
  const { validation = [] } = problems;
  const isLast = (step: number, reward: number) => step === plan.length || isOver([...history, { step, reward }]);
  try {
    await run.timed('stage2', () =>
      trainPolicy({
        kit,
        policy,
        sampler,
        refreshEvery,
        algorithm,
        settings,
        shuffleSeed: settings.control === 'none' ? undefined : settings.seed,
        plan,
        tolerance,
        signal,
        start: state?.progress ?? freshProgress,
        vStarOf: (id) => values!.get(id)!,
        tracker,
        schedule: scheduleOf(settings, plan.length),
        evalHeldOut: (step) => (isDue(evalEvery, step) ? greedyAccuracy(kit, problems.test) : undefined),
        validate: (step, reward) =>
          validation.length > 0 && (isDue(evalEvery, step) || isLast(step, reward))
            ? greedyAccuracy(kit, validation)
            : undefined,
        onStep: (record, trained) => {
          history.push(record);
          metrics.append({ ...record });
          for (const rollout of trained) rollouts.append(rolloutRecord(record.step, rollout));
          const seconds = (performance.now() - last) / 1000;
          last = performance.now();
          run.timings.append({ step: record.step, seconds });
          run.onEvent({ kind: 'step', metrics: record, updates: plan.length, seconds });
        },
        keepIfBest: async ({ step }) => {
          const best = keep === 'best' ? bestOf(history) : undefined;
          if (best?.step === step) await saveBest(folder, policy, model, best);
        },
        isOver: () => isOver(history),
        saveDue: (step) => isDue(saveEvery, step),
        save: (progress) =>
          saveNewest(
            folder,
            newestKept(keep),
            policy,
            model,
            progress,
            { metrics, rollouts },
            { sampler: lags(progress.step) ? sampler.read : undefined, tracked: tracker?.state() },
          ),
      }),
    );
  } finally {
    metrics.close();
    rollouts.close();
  }
  folder.requirePresent();
  const ending = endOf(history);
  if (ending.best !== undefined && !hasBest(run, ending.best.step)) return await trainOrLoad(run, vStar);
  await saveFinal(folder, policy, model);
  return ending;
}

/** The metrics of the updates so far. */
function historyOf(folder: RunFolder): StepMetrics[] {
  return [...readLog(folder.file('metrics'))] as unknown as StepMetrics[];
}

/** Loads the best model into the policy. A damaged one is reported, and training has to begin again to make it. */
function hasBest({ folder, policy, job }: Run, step: number): boolean {
  try {
    loadBest(folder, policy, step);
    return true;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    job.reporter.line(`${error.message} Training starts from the beginning to create it again.`);
    for (const saved of folder.checkpoints()) folder.setAside(saved);
    return false;
  }
}

/** The value tracker as it was at a checkpoint, or with the pass rates of stage 1. */
function trackerOf(
  { job, folder }: Run,
  rows: readonly Problem[],
  vStar: VStarFile,
  state: CheckpointState | undefined,
): ValueTracker {
  return openTracker({
    rows,
    rewardsOf: (id) => vStar.entries.get(id)!.rewards,
    seed: job.settings.seed,
    saved: state && loadTracked(folder.checkpointPath(state.progress.step)),
  });
}

/** Restores the policy and the sampler from a checkpoint, or to their state before the first update. */
async function load(
  { job, folder, policy, onEvent }: Run,
  sampler: LaggedSampler,
  state: CheckpointState | undefined,
): Promise<void> {
  if (state === undefined) {
    policy.load(job.pretrained.weights.read);
    policy.loadMoments();
    return;
  }
  const { step } = state.progress;
  loadCheckpoint(folder.checkpointPath(step), policy);
  const held = loadSampler(folder.checkpointPath(step), policy);
  if (held !== undefined) await sampler.restore(held);
  const history = [...readLog(folder.file('metrics'))].filter((record) => Number(record.step) <= step);
  onEvent({ kind: 'resumed', step, history: history as unknown as StepMetrics[] });
}

/** One line of rollouts.jsonl. */
function rolloutRecord(step: number, { rollout, ...numbers }: TrainedRollout) {
  const { problem, text, finished, score, completionIds } = rollout;
  const graded = { reward: score.reward, exact: score.exact, finished, tokens: completionIds.length };
  return { step, problem: problem.id, completion: text, ...graded, ...numbers };
}
