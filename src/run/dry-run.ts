/**
 * @file `train --dry-run`: the work and the resources of a run, from its options and the model's config, and the time that it
 * takes, from a probe. Rejects whatever a run would reject. Writes and installs nothing, and asks no server or worker; for a
 * hub model it downloads everything except the weights.
 */
import type { TaskApi } from '../data/task-file.js';
import type { EngineSetting } from '../engine/choices.js';
import { parseAddress } from '../engine/cluster.js';
import { parameterCount } from '../model/network/params.js';
import { describeModel, openRequestedEngine } from '../model/open.js';
import { builtinModel } from '../model/shipped.js';
import { openProblems } from '../options/problems.js';
import { newestKept, requireNoAdapter, type TrainingOptions } from '../options/settings.js';
import { algorithms } from '../stage2/algorithm.js';
import { plannedRollouts, plannedUpdates } from '../stage2/plan.js';
import type { Reporter } from '../util/reporter.js';
import { policySizes } from './core/plan.js';
import { missingBytes, planDisk } from './disk.js';
import { readGivenVStar } from './job.js';
import {
  isInstalled,
  type Needs,
  planClientMemory,
  planMemory,
  plannedDevice,
  processor,
  requireEngine,
  weighNeeds,
} from './needs.js';
import { requireNoTinkerAdapter } from './server/place.js';
import { probeTime, type RunTime } from './time/probe.js';
import { requirePlaces } from './train.js';

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
  /** Where the run computes besides this machine, or instead of it. */
  readonly elsewhere: {
    /** The Tinker server that samples and trains. */
    readonly tinkerUrl?: string | undefined;
    /** The server that samples. */
    readonly samplerUrl?: string | undefined;
    /** Processes that compute as well. */
    readonly workers?: readonly string[] | undefined;
  };
  /** The time that the run takes on this machine; absent if it was not measured. */
  readonly time?: RunTime;
}

export interface DryRunRequest {
  readonly options: TrainingOptions;
  /** Where the run would write. */
  readonly folder: string;
  readonly engine: EngineSetting;
  readonly install: boolean;
  readonly workers?: readonly string[] | undefined;
  readonly taskApi: TaskApi;
  /** Whether to measure the time, if the run fits and computes on this machine with an engine that is installed. */
  readonly time: boolean;
}

/** @throws UserError for options, a model or a task that a run would reject. */
export async function dryRun(
  { options, folder, engine, install, workers = [], taskApi, time }: DryRunRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<DryRun> {
  requirePlaces(options, workers);
  for (const worker of workers) parseAddress('--workers', worker);
  const name = options.model ?? builtinModel;
  const model = await describeModel(name, reporter, signal);
  const { tinkerUrl, samplerUrl } = options;
  if (tinkerUrl !== undefined) requireNoTinkerAdapter(model.pretrained);
  const opened = await openProblems(options, model, { taskApi, reporter, signal });
  const { settings, task, problems, form, sampledWith } = opened;
  requireNoAdapter(settings, model.pretrained);
  // The weights may not have been downloaded, so V* is checked against everything else.
  readGivenVStar(settings, sampledWith);
  const { train, rows, test, validation = [] } = problems;
  const { config } = model.pretrained;
  const { algo, numSamples, evalSamples, maxNewTokens, keep, lora, freeze } = settings;
  const stage1 = algorithms[algo].hasStage1 ? numSamples * train.length : 0;
  const count = { rows: rows.length, problems: train.length };

  const kept = { keep: newestKept(keep), best: keep === 'best', lora, freeze };
  const onServer = () => ({
    memory: planClientMemory(config, lora),
    disk: planDisk(config, { ...kept, download: 0, server: 'trains' }),
  });
  const here = async () => {
    const { precision, samplerWeights } = settings;
    const chosen = await requireEngine({ engine, install, precision, samplerWeights, workers }, reporter, signal);
    const device = await plannedDevice(chosen, signal);
    const prompts = { tokenizer: model.tokenizer, form };
    const stages = planMemory(config, policySizes(settings, prompts, [...train, ...test, ...validation], settings), {
      ...settings,
      anchor: algorithms[algo].anchor,
      device,
      replicas: 1 + workers.length,
    });
    const download = missingBytes(name, model.pretrained);
    const planned =
      samplerUrl === undefined
        ? { memory: stages, disk: planDisk(config, { ...kept, download }) }
        : {
            memory: stages.filter(({ stage }) => stage === 'training'),
            disk: planDisk(config, { ...kept, download, server: 'samples' }),
          };
    return weighNeeds(planned, { device, folder, workers });
  };
  const isHere = tinkerUrl === undefined && samplerUrl === undefined && workers.length === 0;
  const needs = tinkerUrl === undefined ? await here() : weighNeeds(onServer(), { device: processor(), folder });
  const updates = plannedUpdates(settings, count);
  const probed = async (): Promise<RunTime> => {
    const { precision, samplerWeights } = settings;
    const request = { engine, install: false, precision, samplerWeights };
    return await probeTime(
      {
        name,
        model,
        opened,
        engine: await openRequestedEngine(request, reporter, signal),
        hasWeights: missingBytes(name, model.pretrained) === 0,
        updates,
      },
      reporter,
      signal,
    );
  };
  const isMeasured = time && isHere && needs.shortfalls.length === 0 && isInstalled(engine, install);
  return {
    model: name,
    parameters: parameterCount(config),
    task: task.name,
    problems: { train: train.length, rows: rows.length, test: test.length },
    rollouts: { evaluation: test.length * (1 + evalSamples), stage1, stage2: plannedRollouts(settings, count) },
    updates,
    maxNewTokens,
    elsewhere: { tinkerUrl, samplerUrl, ...(workers.length > 0 && { workers }) },
    ...needs,
    ...(isMeasured && { time: await probed() }),
  };
}
