/**
 * @file What stage 2 of a run does, from the samples of stage 1: the verdict, the rollouts of every update, the course of the
 * learning rate. No files and no Node, since a page plans with it too.
 */
import type { Problem, ProblemSet } from '../../data/problem.js';
import type { Schedule } from '../../engine/optim/settings.js';
import { type Settings, warmupSteps } from '../../options/settings.js';
import { type Preflight, preflight } from '../../stage1/preflight.js';
import type { Probe } from '../../stage1/probe-file.js';
import { trainedRows } from '../../stage1/trained.js';
import type { Samples } from '../../stage1/v-star-file.js';
import { type Algorithm, algorithms } from '../../stage2/algorithm.js';
import { planBatches, plannedRollouts, plannedUpdates, type Visit } from '../../stage2/plan.js';
import { UserError } from '../../util/errors.js';
import { keyedRandom } from '../../util/random.js';

/** The parts of a job that its plan depends on. */
export interface PlannedJob {
  readonly settings: Settings;
  readonly problems: Pick<ProblemSet, 'train' | 'rows'>;
}

/** The rows that stage 2 trains on. */
export function rowsOf({ settings, problems }: PlannedJob, vStar: Samples | undefined): Problem[] {
  const { trainOn, curriculum, seed } = settings;
  const entryOf = (index: number) => vStar?.entries.get(problems.train[index]!.id);
  const random = () => keyedRandom(seed, 'curriculum');
  return trainedRows(problems.rows, entryOf, { trainOn, curriculum, random }).map((index) => problems.train[index]!);
}

/** The rollouts of every update. @throws UserError when no problem is left to train on. */
export function planOf({ settings, problems }: PlannedJob, rows: readonly Problem[]): Visit[][] {
  const algorithm: Algorithm = algorithms[settings.algo];
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
  }).slice(0, settings.maxSteps);
}

/** The course of the learning rate over `updates`. */
export function scheduleOf(settings: Settings, updates: number): Schedule {
  const cosine = { steps: updates, floor: settings.decayTo };
  return { peak: settings.lr, warmupSteps: warmupSteps(settings, updates), cosine };
}

/** Whether these samples, one entry for each training problem, can teach anything. */
export function judgeSamples(job: PlannedJob, file: Samples, probe: Probe): Preflight {
  const { settings, problems } = job;
  const entries = problems.train.map(({ id }) => file.entries.get(id)!);
  const updates = plannedUpdates(settings, { rows: rowsOf(job, file).length, problems: entries.length });
  const plan = { updates, warmup: warmupSteps(settings, updates), batchSize: settings.batchSize };
  return preflight(entries, { ...settings, plan, probe });
}
