/**
 * @file The trained model of a run: `final/`, a Hugging Face folder, and `final.json` with the checksums of its files,
 * written last. A model whose files do not match is rejected.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointModel, checksumsShape, requireWhole, savePolicy, type Trainable } from '../stage2/resume.js';
import { requireSeal, sealJson } from '../util/checksum.js';
import { UserError } from '../util/errors.js';
import { explainAsyncWrites, writeFileAtomic } from '../util/file.js';
import { readJsonRecord } from '../util/json.js';
import { check, object, oneOf } from '../util/schema.js';
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
