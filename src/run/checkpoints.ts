/**
 * @file The checkpoint from which a run continues: the newest that is undamaged and has undamaged logs.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { isGguf } from '../model/gguf/open.js';
import { shippedModel } from '../model/shipped.js';
import { type CheckpointState, readCheckpointState, requireWhole } from '../stage2/resume.js';
import { UserError } from '../util/errors.js';
import type { Reporter } from '../util/reporter.js';
import { hasFinal, requireFinal } from './final.js';
import type { RunFolder } from './folder.js';
import { requireLog } from './logs.js';

/** Whether the trained model exists and is undamaged. A damaged one is reported. */
export function hasWholeFinal(folder: RunFolder, reporter: Reporter): boolean {
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
export function newestCheckpoint(folder: RunFolder, reporter: Reporter, updates: number): CheckpointState | undefined {
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
export function baseReference(name: string, folder: string): string {
  if (isGguf(name)) return resolve(name);
  return existsSync(name) || shippedModel(name) !== name ? resolve(folder) : name;
}
