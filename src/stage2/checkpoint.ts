/**
 * @file Training checkpoints: the policy as a Hugging Face folder in float32, the optimiser's moments, and `state.json` with
 * the checksums of all other files. `state.json` is written last; a folder that has it is complete. Loading a checkpoint
 * restores the policy exactly.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openAdapter, readAdapterConfig, saveAdapter } from '../model/checkpoint/adapter.js';
import { openPretrained } from '../model/checkpoint/pretrained.js';
import {
  closeSafetensors,
  openSafetensors,
  readTensor,
  type SafetensorsFile,
  writeSafetensors,
} from '../model/checkpoint/safetensors.js';
import { savePretrained } from '../model/checkpoint/save.js';
import type { LoraOptions, ParameterSpecs } from '../model/network/params.js';
import type { ReadTensor } from '../policy/layout.js';
import { type PlacedPolicy, readServerFile, serverFile, serverJson } from '../policy/placed.js';
import { type Checksum, checksumOf, checksumOfFile, requireSeal, sameChecksum, sealJson } from '../util/checksum.js';
import { UserError } from '../util/errors.js';
import { writeFileAtomic } from '../util/file.js';
import { type JsonRecord, readJsonRecord } from '../util/json.js';
import { check, integer, mapOf, object, oneOf, orNull, share, text } from '../util/schema.js';
import type { Progress } from './loop.js';
import type { TrackedState } from './value-tracker.js';

/** Raised when older versions would misread a checkpoint. */
const format = 'tinyzero-checkpoint-2';
/** Written last into a checkpoint; a folder without it is not a checkpoint. */
export const checkpointStateFile = 'state.json';
const optimizerFile = 'optimizer.safetensors';
/** The trained tensors at the sampler's last refresh; present only between two refreshes. */
const samplerFile = 'sampler.safetensors';
/** The values of SPO's tracker. */
const trackerFile = 'values.safetensors';

/** What a checkpoint saves and restores: a policy, or the learner of supervised training. */
export type Trainable = Pick<
  PlacedPolicy,
  'config' | 'specs' | 'saved' | 'momentSpecs' | 'read' | 'loadTrained' | 'loadMoments' | 'server'
>;

/** Checksums by file name. */
export type Checksums = Readonly<Record<string, Checksum>>;

/** Size and checksum of a run's logs when the checkpoint was made. Timings are excluded, since they depend on a clock. */
export interface LogMarks {
  readonly metrics: Checksum;
  readonly rollouts: Checksum;
}

export interface CheckpointState {
  readonly progress: Progress;
  readonly logs: LogMarks;
  /** All other files of the checkpoint. */
  readonly files: Checksums;
}

export interface CheckpointModel {
  readonly configRecord: JsonRecord;
  /** The folder whose tokenizer files are copied. */
  readonly carryFrom: string;
  /** When adapters are trained: their settings, and the base model (a folder or hub id). */
  readonly adapters?: { readonly lora: LoraOptions; readonly base: string } | undefined;
}

type TrainedValues = Pick<PlacedPolicy, 'specs' | 'saved' | 'momentSpecs' | 'read' | 'server'>;

/** Writes the trained model, or its adapters in PEFT's format, in float32; and the place of a server's state, if any. */
export async function savePolicy(
  folder: string,
  policy: Pick<TrainedValues, 'saved' | 'read' | 'server'>,
  { configRecord, carryFrom, adapters }: CheckpointModel,
): Promise<Checksums> {
  const { saved: specs, read } = policy;
  const onServer = await policy.server?.save();
  const files =
    adapters === undefined
      ? await savePretrained(folder, { configRecord, carryFrom, specs, dtype: 'float32', read })
      : await saveAdapter(folder, { ...adapters, specs, configRecord, carryFrom, read });
  if (onServer === undefined) return files;
  const place = serverJson(onServer);
  writeFileAtomic(join(folder, serverFile), place);
  return { ...files, [serverFile]: checksumOf(place) };
}

/** State that only some runs have. */
export interface CheckpointExtras {
  /** Reads the trained tensors of the sampler; absent if they are the policy's. */
  readonly sampler?: ReadTensor | undefined;
  readonly tracked?: TrackedState | undefined;
}

/** Writes a checkpoint into the empty `folder`. */
export async function saveCheckpoint(
  folder: string,
  policy: TrainedValues,
  model: CheckpointModel,
  progress: Progress,
  logs: LogMarks,
  { sampler, tracked }: CheckpointExtras = {},
): Promise<void> {
  const moments = float32(policy.momentSpecs);
  const files: Checksums = {
    ...(await savePolicy(folder, policy, model)),
    [optimizerFile]: await writeSafetensors(join(folder, optimizerFile), moments, policy.read),
    ...(sampler && {
      [samplerFile]: await writeSafetensors(join(folder, samplerFile), float32(policy.specs), sampler),
    }),
    ...(tracked && { [trackerFile]: await writeTracked(join(folder, trackerFile), tracked) }),
  };
  const state = { format, progress, logs, files };
  writeFileAtomic(join(folder, checkpointStateFile), sealJson(`${JSON.stringify(state, null, 2)}\n`));
}

const float32 = (specs: ParameterSpecs) =>
  Object.entries(specs).map(([name, shape]) => ({ name, shape, dtype: 'float32' as const }));

const count = integer({ min: 0 });
const checksumShape = object({ bytes: count, crc32: text });
/** Checksums by file name. */
export const checksumsShape = mapOf(checksumShape);

const stateShape = object({
  format: oneOf([format]),
  progress: object({ step: count, baseline: orNull(share), sampledTokens: count }),
  logs: object({ metrics: checksumShape, rollouts: checksumShape }),
  files: checksumsShape,
});

/** Reads `state.json`. @throws UserError that names the invalid field, or says that the file was changed. */
export function readCheckpointState(folder: string): CheckpointState {
  const path = join(folder, checkpointStateFile);
  const { progress, logs, files } = check(stateShape, readJsonRecord(path), { path, what: "a checkpoint's state" });
  requireSeal(path);
  return { progress, logs, files: Object.fromEntries(files) };
}

/** Verifies every file. @throws UserError naming the first one that is missing or damaged. */
export function requireWhole(folder: string, files: Checksums): void {
  for (const [name, expected] of Object.entries(files)) {
    const found = checksumOfFile(join(folder, name));
    if (found !== undefined && sameChecksum(found, expected)) continue;
    const words = ({ bytes, crc32 }: Checksum) => `${bytes} bytes with CRC-32 ${crc32}`;
    throw new UserError({
      problem: `${join(folder, name)} is damaged.`,
      expected: words(expected),
      found: found === undefined ? 'no file' : words(found),
    });
  }
}

/** Restores parameters and moments. @throws UserError when they do not match this model. */
export function loadCheckpoint(folder: string, policy: Trainable): void {
  loadPolicy(folder, policy);
  withTensors(join(folder, optimizerFile), () => policy.momentSpecs, policy.loadMoments);
}

/** Reads the sampler's tensors of a checkpoint that has them. @throws UserError when they do not match this model. */
export function loadSampler(folder: string, { specs }: Pick<Trainable, 'specs'>): ReadTensor | undefined {
  const path = join(folder, samplerFile);
  if (!existsSync(path)) return undefined;
  const tensors = new Map<string, Float32Array>();
  const specsOf = () => specs;
  withTensors(path, specsOf, (read) => {
    for (const name of Object.keys(specs)) tensors.set(name, read(name));
  });
  return (name) => tensors.get(name)!;
}

const trackedNames = ['alpha', 'beta', 'lengths', 'tokens', 'logProbs'] as const;

function writeTracked(path: string, tracked: TrackedState): Promise<Checksum> {
  const specs = trackedNames.map((name) => [name, [tracked[name].length]] as const);
  const values = new Map<string, Float32Array>(trackedNames.map((name) => [name, tracked[name]]));
  return writeSafetensors(path, float32(Object.fromEntries(specs)), (name) => values.get(name)!);
}

/** Reads the values of a checkpoint's tracker. @throws UserError when they are missing or invalid. */
export function loadTracked(folder: string): TrackedState {
  return withTensors(
    join(folder, trackerFile),
    ({ tensors }) => Object.fromEntries(trackedNames.map((name) => [name, [tensors.get(name)?.shape[0] ?? 0]])),
    (read) => ({
      alpha: read('alpha'),
      beta: read('beta'),
      lengths: read('lengths'),
      tokens: read('tokens'),
      logProbs: read('logProbs'),
    }),
  );
}

/** Calls `use` with the tensors of a file, which must be those of `specsOf`. @throws UserError otherwise. */
function withTensors<T>(
  path: string,
  specsOf: (file: SafetensorsFile) => ParameterSpecs,
  use: (read: ReadTensor) => T,
): T {
  const file = openSafetensors(path);
  try {
    for (const [name, shape] of Object.entries(specsOf(file))) {
      const entry = file.tensors.get(name);
      if (entry?.dtype !== 'float32' || entry.shape.join() !== shape.join()) {
        throw new UserError({
          problem: `${path} does not match this model: ${name} differs.`,
          expected: `float32 [${shape.join(', ')}]`,
          found: entry === undefined ? 'nothing' : `${entry.format} [${entry.shape.join(', ')}]`,
        });
      }
    }
    return use((name) => readTensor(file, file.tensors.get(name)!));
  } finally {
    closeSafetensors(file);
  }
}

/** Restores the parameters of a saved policy. @throws UserError when they do not match this model. */
export function loadPolicy(folder: string, policy: Trainable): void {
  policy.server?.restore(readServerFile(join(folder, serverFile)));
  const adapter = readAdapterConfig(folder);
  if (adapter !== undefined) {
    loadAdapters(folder, adapter.rank, policy);
    return;
  }
  const { config, weights } = openPretrained(folder);
  try {
    if (JSON.stringify(config) !== JSON.stringify({ ...policy.config, dtype: config.dtype })) {
      throw new UserError({
        problem: `The model in ${folder} differs from that of this run.`,
        fix: 'Its config.json was changed after it was saved.',
      });
    }
    policy.loadTrained(weights.read);
  } finally {
    weights.close();
  }
}

function loadAdapters(folder: string, rank: number, policy: Trainable): void {
  const { file, specs, read } = openAdapter(folder, policy.config, rank);
  try {
    if (JSON.stringify(specs) !== JSON.stringify(policy.specs)) {
      throw new UserError({
        problem: `The adapters in ${folder} differ from those of this run.`,
        fix: 'Its adapter_config.json was changed after it was saved.',
      });
    }
    policy.loadTrained(read);
  } finally {
    closeSafetensors(file);
  }
}
