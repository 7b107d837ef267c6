/**
 * @file The trained model of a run: `final/`, a Hugging Face folder, and `final.json` with the checksums of its files,
 * written last. A model whose files do not match is rejected.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointModel,
  checksumsShape,
  loadPolicy,
  requireWhole,
  savePolicy,
  type Trainable,
} from '../stage2/checkpoint.js';
import { requireSeal, sealJson } from '../util/checksum.js';
import { UserError } from '../util/errors.js';
import { explainAsyncWrites, writeFileAtomic } from '../util/file.js';
import { readJsonRecord } from '../util/json.js';
import { check, integer, object, oneOf, share } from '../util/schema.js';
import { commandOfRun, type RunFolder, runFiles } from './folder.js';

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
export function requireFinal(path: string): void {
  const checksums = join(path, runFiles.finalChecksums);
  const { files } = check(finalShape, readJsonRecord(checksums), { path: checksums, what: 'a list of checksums' });
  requireSeal(checksums);
  requireWhole(join(path, runFiles.final), Object.fromEntries(files));
}

/** Options whose model may be the folder of a run, with the trained model in its place. */
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
 * `--keep best`: replaces the model of the update that answered the validation problems best so far, `best/`, with `best.json`,
 * written last. Training is deterministic: a run that is resumed before it writes it again.
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
