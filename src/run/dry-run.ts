/**
 * @file `train --dry-run`: the work and the resources of a run, from its options and the model's config. Rejects whatever a
 * run would reject. Computes, writes and installs nothing; for a hub model it downloads everything except the weights.
 */
import type { TaskApi } from '../data/task-file.js';
import type { EngineSetting } from '../engine/choices.js';
import { parameterCount } from '../model/network/params.js';
import { describeModel } from '../model/open.js';
import { builtinModel } from '../model/shipped.js';
import { openProblems } from '../options/problems.js';
import { newestKept, type TrainingOptions } from '../options/settings.js';
import { algorithms } from '../stage2/algorithm.js';
import { plannedRollouts, plannedUpdates } from '../stage2/plan.js';
import type { Reporter } from '../util/reporter.js';
import { policySizes, readGivenVStar } from './job.js';
import { planDisk, planMemory } from './memory-plan.js';
import { missingBytes, type Needs, plannedRoom, requireEngine, weighNeeds } from './needs.js';
import { requireAdapters } from './train.js';

export interface DryRun extends Needs {
  readonly model: string;
  readonly parameters: number;
  readonly task: string;
  /** Distinct training problems, rows drawn from them, held-out problems. */
  readonly problems: { readonly train: number; readonly rows: number; readonly test: number };
  /**
   * Completions of one evaluation and of each stage. Stage 2 may leave problems out after stage 1, so its number and
   * `updates` are upper bounds.
   */
  readonly rollouts: { readonly evaluation: number; readonly stage1: number; readonly stage2: number };
  readonly updates: number;
  readonly maxNewTokens: number;
}

export interface DryRunRequest {
  readonly options: TrainingOptions;
  /** Where the run would write. */
  readonly folder: string;
  readonly engine: EngineSetting;
  readonly install: boolean;
  readonly taskApi: TaskApi;
}

/** @throws UserError for options, a model or a task that a run would reject. */
export async function dryRun(
  { options, folder, engine, install, taskApi }: DryRunRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<DryRun> {
  requireAdapters(options);
  const name = options.model ?? builtinModel;
  const model = await describeModel(name, reporter, signal);
  const { settings, task, problems, form, sampledWith } = await openProblems(options, model, {
    taskApi,
    reporter,
    signal,
  });
  // The weights may not have been downloaded, so V* is checked against everything else.
  readGivenVStar(settings, sampledWith);
  await requireEngine({ engine, install, precision: settings.precision }, reporter, signal);
  const { train, rows, test, validation = [] } = problems;
  const { config } = model.pretrained;
  const { algo, numSamples, evalSamples, maxNewTokens, keep } = settings;
  const stage1 = algorithms[algo].hasStage1 ? numSamples * train.length : 0;
  const count = { rows: rows.length, problems: train.length };

  const memory = planMemory(
    config,
    policySizes(settings, { tokenizer: model.tokenizer, form }, [...train, ...test, ...validation], settings),
    { ...settings, anchor: algorithms[algo].anchor, room: plannedRoom(engine) },
  );
  const parameters = parameterCount(config);
  const disk = planDisk(config, {
    keep: newestKept(keep) + Number(keep === 'best') / 3,
    lora: settings.lora,
    download: missingBytes(name, model.pretrained),
  });
  return {
    model: name,
    parameters,
    task: task.name,
    problems: { train: train.length, rows: rows.length, test: test.length },
    rollouts: { evaluation: test.length * (1 + evalSamples), stage1, stage2: plannedRollouts(settings, count) },
    updates: plannedUpdates(settings, count),
    maxNewTokens,
    ...weighNeeds({ memory, disk }, { engine, folder }),
  };
}
