/**
 * @file `train --dry-run`: what a run would do and need, from the options and the model's config. Refuses what a run would
 * refuse. Computes, writes and installs nothing; of a model on the hub it fetches everything but the weights.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { TaskApi } from '../data/task-file.js';
import type { EngineSetting } from '../engine/choices.js';
import { chooseEngine } from '../engine/install/choose.js';
import { findInstalledEngine } from '../engine/install/installed.js';
import { bytesPerElement } from '../model/checkpoint/dtype.js';
import { singleWeightFile, weightIndexFile } from '../model/checkpoint/pretrained.js';
import { wasmHeapBytes } from '../model/load.js';
import { parameterCount } from '../model/network/params.js';
import { describeModel, requirePrecision } from '../model/open.js';
import { builtinModel } from '../model/shipped.js';
import { openProblems } from '../options/problems.js';
import type { TrainingOptions } from '../options/settings.js';
import { algorithms } from '../stage2/algorithm.js';
import { plannedRollouts, plannedUpdates } from '../stage2/plan.js';
import { freeBytes, memoryLimit } from '../util/machine.js';
import type { Reporter } from '../util/reporter.js';
import { policySizes, readGivenVStar } from './job.js';
import { type DiskPlan, type MemoryStage, planDisk, planMemory } from './memory-plan.js';

export interface DryRun {
  readonly model: string;
  readonly parameters: number;
  readonly task: string;
  /** Distinct problems to train on, rows drawn from them, held-out problems. */
  readonly problems: { readonly train: number; readonly rows: number; readonly test: number };
  /**
   * Completions of one evaluation and of the stages. Stage 2 leaves out the problems that stage 1 does not solve, so its
   * number and that of the updates are upper bounds.
   */
  readonly rollouts: { readonly evaluation: number; readonly stage1: number; readonly stage2: number };
  readonly updates: number;
  readonly maxNewTokens: number;
  readonly memory: readonly MemoryStage[];
  readonly disk: DiskPlan;
  /** Whose memory is planned; the size of a GPU's is unknown before it is used. */
  readonly device: 'cpu' | 'gpu' | 'wasm';
  /** Bytes that the device may use (absent for a GPU), and free bytes where the run would be written. */
  readonly available: { readonly memory?: number; readonly disk: number };
  /** What needs more than is available. */
  readonly shortfalls: readonly { readonly what: string; readonly needed: number; readonly available: number }[];
}

export interface DryRunRequest {
  readonly options: TrainingOptions;
  /** Where the run would write. */
  readonly folder: string;
  readonly engine: EngineSetting;
  readonly install: boolean;
  readonly taskApi: TaskApi;
}

/** @throws UserError for options, model or task that a run would refuse. */
export async function dryRun(
  { options, folder, engine, install, taskApi }: DryRunRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<DryRun> {
  const name = options.model ?? builtinModel;
  const model = await describeModel(name, reporter, signal);
  const { settings, task, problems, form, sampledWith } = await openProblems(options, model, taskApi);
  // The model's weights may not be here, so V* is checked against everything else.
  readGivenVStar(settings, sampledWith);
  const isCertain = engine !== 'auto' || !install || findInstalledEngine() !== undefined;
  if (isCertain) {
    const { name: chosen } = await chooseEngine({ engine, install: false, reporter, signal });
    requirePrecision(chosen, settings.precision);
  }
  const { train, rows, test } = problems;
  const { config } = model.pretrained;
  const { algo, numSamples, evalSamples, maxNewTokens, keep } = settings;
  const stage1 = algorithms[algo].needsVStar ? numSamples * train.length : 0;
  const count = { rows: rows.length, problems: train.length };

  const memory = planMemory(
    config,
    policySizes(settings, { tokenizer: model.tokenizer, form }, [...train, ...test], settings),
    settings,
  );
  const here = [singleWeightFile, weightIndexFile].some((file) => existsSync(join(model.pretrained.folder, file)));
  const parameters = parameterCount(config);
  const disk = planDisk(config, {
    keep,
    lora: settings.lora,
    download: here ? 0 : parameters * bytesPerElement[config.dtype],
  });

  const device = engine === 'wasm' ? 'wasm' : findInstalledEngine()?.variant === 'gpu' ? 'gpu' : 'cpu';
  const memoryBytes =
    device === 'gpu' ? undefined : Math.min(memoryLimit(), device === 'wasm' ? wasmHeapBytes : Infinity);
  const available = { ...(memoryBytes !== undefined && { memory: memoryBytes }), disk: freeBytes(folder) };
  const needs = [
    ...memory.map(({ stage, bytes }) => ({ what: `memory for ${stage}`, needed: bytes, available: memoryBytes })),
    { what: 'disk space', needed: disk.bytes, available: available.disk },
  ];
  return {
    ...{ model: name, parameters, task: task.name },
    problems: { train: train.length, rows: rows.length, test: test.length },
    rollouts: { evaluation: test.length * (1 + evalSamples), stage1, stage2: plannedRollouts(settings, count) },
    ...{ updates: plannedUpdates(settings, count), maxNewTokens, memory, disk, device, available },
    shortfalls: needs.flatMap(({ what, needed, available }) =>
      available !== undefined && needed > available ? [{ what, needed, available }] : [],
    ),
  };
}
