/**
 * @file The checkpoints of a run: where training starts, from the newest that is undamaged and has undamaged logs, and how
 * the next one is saved.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Pretrained } from '../model/checkpoint/pretrained.js';
import { isGguf } from '../model/gguf/open.js';
import { shippedModel } from '../model/shipped.js';
import type { Settings } from '../options/settings.js';
import {
  type CheckpointExtras,
  type CheckpointModel,
  type CheckpointState,
  readCheckpointState,
  requireWhole,
  saveCheckpoint,
  type Trainable,
} from '../stage2/checkpoint.js';
import type { Progress } from '../stage2/loop.js';
import { emptyChecksum } from '../util/checksum.js';
import { UserError } from '../util/errors.js';
import { explainAsyncWrites } from '../util/file.js';
import type { Reporter } from '../util/reporter.js';
import { hasFinal, requireFinal } from './final.js';
import type { RunFolder } from './folder.js';
import { type LogWriter, requireLog } from './logs.js';

/**
 * Where training starts: after `state`, or at the beginning if undefined. `finished`: the trained model exists already.
 *
 * @param updates of the whole run.
 */
export function startOf(
  folder: RunFolder,
  reporter: Reporter,
  updates: number,
): { readonly finished: boolean; readonly state: CheckpointState | undefined } {
  const isWhole = hasWholeFinal(folder, reporter);
  const unchecked = folder.checkpoints().length === 0;
  const state = newestCheckpoint(folder, reporter, updates);
  return { finished: isWhole && (unchecked || state?.progress.step === updates), state };
}

/** Saves a checkpoint with marks of the logs as they are, and removes those beyond `keep`. */
export async function saveNewest(
  folder: RunFolder,
  keep: number,
  trained: Trainable,
  model: CheckpointModel,
  progress: Progress,
  { metrics, rollouts }: { readonly metrics: LogWriter; readonly rollouts?: LogWriter },
  extras: CheckpointExtras = {},
): Promise<void> {
  folder.requirePresent();
  metrics.sync();
  rollouts?.sync();
  const marks = { metrics: metrics.mark(), rollouts: rollouts?.mark() ?? emptyChecksum };
  const path = folder.startCheckpoint(progress.step);
  await explainAsyncWrites(path, () => saveCheckpoint(path, trained, model, progress, marks, extras));
  folder.prune(keep);
}

/** The description of the model in a checkpoint. */
export function checkpointModel(
  { model, lora }: Pick<Settings, 'model'> & Partial<Pick<Settings, 'lora'>>,
  { configRecord, folder }: Pretrained,
): CheckpointModel {
  return { configRecord, carryFrom: folder, adapters: lora && { lora, base: baseReference(model, folder) } };
}

/** Whether the trained model exists and is undamaged. A damaged one is reported. */
function hasWholeFinal(folder: RunFolder, reporter: Reporter): boolean {
  if (!hasFinal(folder.path)) return false;
  try {
    requireFinal(folder.path);
    return true;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    reporter.line(`${error.message} The trained model will be written again.`);
    return false;
  }
}

/**
 * The state of the newest checkpoint that is undamaged and has undamaged logs; undefined if there is none. Damaged
 * checkpoints are reported and set aside.
 *
 * @param updates of the whole run.
 */
function newestCheckpoint(folder: RunFolder, reporter: Reporter, updates: number): CheckpointState | undefined {
  let newest: CheckpointState | undefined;
  const steps = folder.checkpoints().reverse();
  for (const step of steps) {
    try {
      const state = checkedState(folder, step, updates);
      newest ??= state;
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      reporter.line(`${error.message} The checkpoint of update ${step} was moved to ${folder.setAside(step)}.`);
    }
  }
  if (steps.length > 0 && newest === undefined) {
    reporter.line('No undamaged checkpoint is left: training starts from the beginning.');
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

/** Name of an adapter's base model: the hub id as given, otherwise the folder. */
function baseReference(name: string, folder: string): string {
  if (isGguf(name)) return resolve(name);
  return existsSync(name) || shippedModel(name) !== name ? resolve(folder) : name;
}
