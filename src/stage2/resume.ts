/**
 * @file Checkpoints of training: the policy as a Hugging Face folder in float32, the optimiser's moments beside it, and
 * last of all `state.json`, whose presence makes the checkpoint whole. Loading one puts the policy back to the last bit.
 */
import { join } from 'node:path';
import { openPretrained } from '../model/checkpoint/pretrained.js';
import { closeSafetensors, openSafetensors, readTensor, writeSafetensors } from '../model/checkpoint/safetensors.js';
import { savePretrained } from '../model/checkpoint/save.js';
import type { Policy } from '../policy/policy.js';
import { UserError } from '../util/errors.js';
import { writeFileAtomic } from '../util/file.js';
import { type JsonRecord, readJsonRecord } from '../util/json.js';
import { check, integer, object, oneOf, orNull, share } from '../util/schema.js';
import type { Progress } from './loop.js';

/** Changes when older readers would misread a checkpoint. */
const format = 'tinyzero-checkpoint-1';
/** Written last into a checkpoint: a checkpoint without it is not one. */
export const checkpointStateFile = 'state.json';
const optimizerFile = 'optimizer.safetensors';

/** Bytes that the logs of the run had when the checkpoint was made. */
export interface LogSizes {
  readonly metrics: number;
  readonly rollouts: number;
}

export interface CheckpointModel {
  readonly configRecord: JsonRecord;
  /** The folder whose tokenizer files go along. */
  readonly carryFrom: string;
}

/** Writes the policy alone, in float32: what was trained, not a rounding of it. */
export async function savePolicy(folder: string, policy: Policy, model: CheckpointModel): Promise<void> {
  const { configRecord, carryFrom } = model;
  await savePretrained(folder, { configRecord, carryFrom, specs: policy.specs, dtype: 'float32', read: policy.read });
}

/** Writes a checkpoint into `folder`, which is empty. */
export async function saveCheckpoint(
  folder: string,
  policy: Policy,
  model: CheckpointModel,
  progress: Progress,
  logs: LogSizes,
): Promise<void> {
  await savePolicy(folder, policy, model);
  const moments = Object.entries(policy.momentSpecs).map(([name, shape]) => ({
    name,
    shape,
    dtype: 'float32' as const,
  }));
  await writeSafetensors(join(folder, optimizerFile), moments, policy.read);
  writeFileAtomic(join(folder, checkpointStateFile), `${JSON.stringify({ format, progress, logs }, null, 2)}\n`);
}

const count = integer({ min: 0 });

const stateShape = object({
  format: oneOf([format]),
  progress: object({ step: count, baseline: orNull(share), sampledTokens: count }),
  logs: object({ metrics: count, rollouts: count }),
});

/** Reads the small part of a checkpoint. @throws UserError that names the field that is wrong. */
export function readCheckpointState(folder: string): { progress: Progress; logs: LogSizes } {
  const path = join(folder, checkpointStateFile);
  const source = {
    path,
    what: "a checkpoint's state",
    fix: 'Remove the checkpoint to resume from the one before.',
  };
  const { progress, logs } = check(stateShape, readJsonRecord(path, source.fix), source);
  return { progress, logs };
}

/** Puts parameters and moments of a checkpoint into `policy`. @throws UserError when they are not of this model. */
export function loadCheckpoint(folder: string, policy: Policy): void {
  loadPolicy(folder, policy);
  const path = join(folder, optimizerFile);
  const file = openSafetensors(path);
  try {
    for (const [name, shape] of Object.entries(policy.momentSpecs)) {
      const entry = file.tensors.get(name);
      if (entry?.dtype !== 'float32' || entry.shape.join() !== shape.join()) {
        throw new UserError({
          problem: `${path} does not belong to this model: ${name} is wrong.`,
          expected: `float32 [${shape.join(', ')}]`,
          found: entry === undefined ? 'nothing' : `${entry.format} [${entry.shape.join(', ')}]`,
        });
      }
    }
    policy.loadMoments((name) => readTensor(file, file.tensors.get(name)!));
  } finally {
    closeSafetensors(file);
  }
}

/** Puts the parameters of a saved policy into `policy`. @throws UserError when they are not of this model. */
export function loadPolicy(folder: string, policy: Policy): void {
  const { config, weights } = openPretrained(folder);
  try {
    if (JSON.stringify(config) !== JSON.stringify({ ...policy.config, dtype: config.dtype })) {
      throw new UserError({
        problem: `${folder} holds another model than this run's.`,
        fix: 'Its config.json was changed after it was saved.',
      });
    }
    policy.load(weights.read);
  } finally {
    weights.close();
  }
}
