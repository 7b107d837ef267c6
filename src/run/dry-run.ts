/**
 * @file `train --dry-run`: the work and the resources of a run, from its options and the model's config. Rejects whatever a
 * run would reject. Computes, writes and installs nothing; for a hub model it downloads everything except the weights.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { TaskApi } from '../data/task-file.js';
import type { EngineSetting } from '../engine/choices.js';
import { chooseEngine } from '../engine/install/choose.js';
import { findInstalledEngine } from '../engine/install/installed.js';
import { bytesPerElement } from '../model/checkpoint/dtype.js';
import { singleWeightFile, weightIndexFile } from '../model/checkpoint/pretrained.js';
import { isGguf } from '../model/gguf/open.js';
import { wasmHeapBytes } from '../model/load.js';
import { parameterCount } from '../model/network/params.js';
import { describeModel, openRequestedEngine } from '../model/open.js';
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
  /** Distinct training problems, rows drawn from them, held-out problems. */
  readonly problems: { readonly train: number; readonly rows: number; readonly test: number };
  /**
   * Completions of one evaluation and of each stage. Stage 2 may leave problems out after stage 1, so its number and
   * `updates` are upper bounds.
   */
  readonly rollouts: { readonly evaluation: number; readonly stage1: number; readonly stage2: number };
  readonly updates: number;
  readonly maxNewTokens: number;
  readonly memory: readonly MemoryStage[];
  readonly disk: DiskPlan;
  /** The device whose memory is planned. A GPU's size is unknown until it is used. */
  readonly device: 'cpu' | 'gpu' | 'wasm';
  /** Bytes of device memory (absent for a GPU), and free disk space for the run folder. */
  readonly available: { readonly memory?: number; readonly disk: number };
  /** Resources of which the run needs more than is available. */
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

/** @throws UserError for options, a model or a task that a run would reject. */
export async function dryRun(
  { options, folder, engine, install, taskApi }: DryRunRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<DryRun> {
  const name = options.model ?? builtinModel;
  const model = await describeModel(name, reporter, signal);
  const { settings, task, problems, form, sampledWith } = await openProblems(options, model, taskApi);
  // The weights may not have been downloaded, so V* is checked against everything else.
  readGivenVStar(settings, sampledWith);
  const isCertain = engine !== 'auto' || !install || findInstalledEngine() !== undefined;
  if (isCertain) {
    const { precision } = settings;
    // Only an open engine tells whether the processor has bfloat16 instructions.
    if (precision === 'bf16') await openRequestedEngine({ engine, install: false, precision }, reporter, signal);
    else await chooseEngine({ engine, install: false, reporter, signal });
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
  const here =
    isGguf(name) || [singleWeightFile, weightIndexFile].some((file) => existsSync(join(model.pretrained.folder, file)));
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
    model: name,
    parameters,
    task: task.name,
    problems: { train: train.length, rows: rows.length, test: test.length },
    rollouts: { evaluation: test.length * (1 + evalSamples), stage1, stage2: plannedRollouts(settings, count) },
    updates: plannedUpdates(settings, count),
    maxNewTokens,
    memory,
    disk,
    device,
    available,
    shortfalls: needs.flatMap(({ what, needed, available }) =>
      available !== undefined && needed > available ? [{ what, needed, available }] : [],
    ),
  };
}
