/**
 * @file The models that a run saves: checkpoints; the trained model, `final/`, a Hugging Face folder; and with --keep best
 * `best/`. Training starts from the newest checkpoint that is undamaged and has undamaged logs. Checksums are in
 * `final.json` and `best.json`, written last. A model whose files do not match them is rejected.
 */
import { existsSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Pretrained } from '../model/checkpoint/pretrained.js';
import { isGguf } from '../model/gguf/open.js';
import { shippedModel } from '../model/shipped.js';
import type { Settings } from '../options/settings.js';
import {
  type CheckpointExtras,
  type CheckpointModel,
  type CheckpointState,
  checksumsShape,
  loadPolicy,
  readCheckpointState,
  requireWhole,
  saveCheckpoint,
  savePolicy,
  type Trainable,
} from '../stage2/checkpoint.js';
import type { Progress } from '../stage2/loop.js';
import { emptyChecksum, requireSeal, sealJson } from '../util/checksum.js';
import { UserError } from '../util/errors.js';
import { explainAsyncWrites, writeFileAtomic } from '../util/file.js';
import { readJsonRecord } from '../util/json.js';
import type { Reporter } from '../util/reporter.js';
import { check, integer, object, oneOf, share } from '../util/schema.js';
import { commandOfRun, type RunFolder, runFiles } from './folder.js';
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

/** Saves a checkpoint with marks of the current logs, and removes the oldest beyond `keep`. */
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
    reporter.line(`${error.message} The trained model will be saved again.`);
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
    throw new UserError(
      `${path} is from update ${state.progress.step}, which does not fit a run of ${updates} updates.`,
    );
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

/** Incremented when older versions would misread the file. */
const format = 'tinyzero-final-1';
const finalShape = object({ format: oneOf([format]), files: checksumsShape });

/** Writes the trained model of a run, replacing an earlier one. */
export async function saveFinal(folder: RunFolder, policy: Trainable, model: CheckpointModel): Promise<void> {
  const [path, checksums] = [folder.file('final'), folder.file('finalChecksums')];
  await explainAsyncWrites(path, async () => {
    rmSync(checksums, { force: true });
    const files = await savePolicy(path, policy, model);
    writeFileAtomic(checksums, sealJson(`${JSON.stringify({ format, files }, null, 2)}\n`));
  });
}

/** Whether the run in `path` has a trained model. Does not check the weights. */
export function hasFinal(path: string): boolean {
  return existsSync(join(path, runFiles.finalChecksums)) && existsSync(join(path, runFiles.final, 'config.json'));
}

/** Verifies every file of the trained model. @throws UserError naming the first one that is missing or damaged. */
function requireFinal(path: string): void {
  const checksums = join(path, runFiles.finalChecksums);
  const { files } = check(finalShape, readJsonRecord(checksums), { path: checksums, what: 'a list of checksums' });
  requireSeal(checksums);
  requireWhole(join(path, runFiles.final), Object.fromEntries(files));
}

/** Options that accept a run folder as a model, and then use its trained model. */
export function withTrainedModel<Options extends { readonly model: string | undefined }>(options: Options): Options {
  return options.model === undefined ? options : { ...options, model: trainedModel(options.model) };
}

/**
 * The folder of the trained model if `name` is a run folder; any other name is returned unchanged.
 *
 * @throws UserError when the run is not finished, or its model is damaged.
 */
export function trainedModel(name: string): string {
  const command = commandOfRun(name);
  if (command === undefined) return name;
  if (!hasFinal(name)) {
    throw new UserError({
      problem: `The run in ${name} has no trained model yet.`,
      fix: `Finish it with \`tinyzero ${command} --resume ${name}\`, or use one of its checkpoints.`,
    });
  }
  try {
    requireFinal(name);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(
      { problem: error.message, fix: `Run \`tinyzero ${command} --resume ${name}\` to write the model again.` },
      { cause: error },
    );
  }
  return join(name, runFiles.final);
}

/** Incremented when older versions would misread the file. */
const bestFormat = 'tinyzero-best-1';
const bestShape = object({
  format: oneOf([bestFormat]),
  step: integer({ min: 1 }),
  accuracy: share,
  files: checksumsShape,
});

/**
 * `--keep best`: replaces the model with the highest accuracy on the validation problems so far, `best/`, with `best.json`,
 * written last. Training is deterministic, so a run resumed from an earlier update writes it again.
 *
 * @param facts `accuracy` on the validation problems after update `step`.
 */
export async function saveBest(
  folder: RunFolder,
  policy: Trainable,
  model: CheckpointModel,
  { step, accuracy }: { readonly step: number; readonly accuracy: number },
): Promise<void> {
  const [path, facts] = [folder.file('best'), folder.file('bestFacts')];
  folder.requirePresent();
  await explainAsyncWrites(path, async () => {
    rmSync(facts, { force: true });
    const files = await savePolicy(path, policy, model);
    writeFileAtomic(facts, sealJson(`${JSON.stringify({ format: bestFormat, step, accuracy, files }, null, 2)}\n`));
  });
}

/** Loads the best model. @throws UserError when it is missing, damaged, or not that of update `step`. */
export function loadBest(folder: RunFolder, policy: Trainable, step: number): void {
  const path = folder.file('bestFacts');
  const { step: saved, files } = check(bestShape, readJsonRecord(path), { path, what: 'facts of the best model' });
  requireSeal(path);
  if (saved !== step) throw new UserError(`${folder.file('best')} is of update ${saved}, not of update ${step}.`);
  requireWhole(folder.file('best'), Object.fromEntries(files));
  loadPolicy(folder.file('best'), policy);
}
