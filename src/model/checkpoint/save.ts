/**
 * @file Saves a model as a Hugging Face folder that transformers and vLLM load: weights in one file or shards, config,
 * and the tokenizer and generation files of the model it came from, byte for byte. Each file is written atomically and
 * `config.json` goes last, so a folder without one is an unfinished save and is refused by the reader.
 */
import { existsSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Checksum, checksumOf } from '../../util/checksum.js';
import { UserError } from '../../util/errors.js';
import { makeFolder, readRegularFile, writeFileAtomic } from '../../util/file.js';
import type { JsonRecord } from '../../util/json.js';
import { elementCount, type ParameterSpecs } from '../network/params.js';
import { bytesPerElement, type Dtype } from './dtype.js';
import { singleWeightFile, weightIndexFile } from './pretrained.js';
import { type TensorToWrite, writeSafetensors } from './safetensors.js';

/** Files that belong to a model besides config and weights; whichever the source has are copied unchanged. */
export const carriedFiles = [
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  'chat_template.jinja',
  'chat_template.json',
  'LICENSE',
  'NOTICE',
] as const;

export interface ModelToSave {
  /** The config to write; its dtype field is set to `dtype`, all else is kept. */
  readonly configRecord: JsonRecord;
  readonly specs: ParameterSpecs;
  readonly dtype: Dtype;
  /** Values of one parameter, float32 and row-major; asked for one after another and not kept. */
  read(name: string): Float32Array | Promise<Float32Array>;
  /** The folder whose tokenizer and generation files are carried along; none for a model without any. */
  readonly carryFrom?: string;
  /** Weight files larger than this are split, as the reference splits them. */
  readonly maxShardBytes?: number;
}

/**
 * Writes `model` into `folder`, creating it. An older model there is replaced: its config goes first, so that a save
 * killed halfway leaves no folder that mixes two models and loads.
 *
 * @returns the checksum of every file of the model, by name.
 * @throws UserError when `folder` is the source itself; the system error of a failing write.
 */
export async function savePretrained(folder: string, model: ModelToSave): Promise<Record<string, Checksum>> {
  const { carryFrom, dtype, specs, maxShardBytes = 5e9 } = model;
  if (carryFrom !== undefined && samePath(folder, carryFrom)) {
    throw new UserError({
      problem: `Saving to ${folder} would overwrite the model it came from.`,
      fix: 'Choose another folder.',
    });
  }
  makeFolder(folder);
  rmSync(join(folder, 'config.json'), { force: true });
  const checksums = await writeWeights(folder, specs, dtype, model.read, maxShardBytes);
  for (const name of readdirSync(folder)) {
    if (/^model.*\.safetensors(\.index\.json)?$/.test(name) && !Object.hasOwn(checksums, name))
      rmSync(join(folder, name));
  }
  const put = (name: string, data: string | Uint8Array) => {
    writeFileAtomic(join(folder, name), data);
    checksums[name] = checksumOf(data);
  };
  for (const name of carriedFiles) {
    const source = carryFrom === undefined ? undefined : join(carryFrom, name);
    if (source !== undefined && existsSync(source)) put(name, readRegularFile(source));
    else rmSync(join(folder, name), { force: true });
  }
  put('config.json', `${JSON.stringify(withDtype(model.configRecord, dtype), null, 2)}\n`);
  return checksums;
}

/** Keeps whichever of the two names the config uses; older transformers know only `torch_dtype`. */
function withDtype(record: JsonRecord, dtype: Dtype): JsonRecord {
  return { ...record, [Object.hasOwn(record, 'dtype') ? 'dtype' : 'torch_dtype']: dtype };
}

async function writeWeights(
  folder: string,
  specs: ParameterSpecs,
  dtype: Dtype,
  read: ModelToSave['read'],
  maxShardBytes: number,
): Promise<Record<string, Checksum>> {
  const shards = planShards(specs, dtype, maxShardBytes);
  const only = shards.length === 1 ? shards[0] : undefined;
  if (only !== undefined) {
    return { [singleWeightFile]: await writeSafetensors(join(folder, singleWeightFile), only, read) };
  }
  const number = (value: number) => String(value).padStart(5, '0');
  const nameOf = (index: number) => `model-${number(index + 1)}-of-${number(shards.length)}.safetensors`;
  const checksums: Record<string, Checksum> = {};
  for (const [index, shard] of shards.entries()) {
    checksums[nameOf(index)] = await writeSafetensors(join(folder, nameOf(index)), shard, read);
  }
  const index = {
    metadata: { total_size: shards.flat().reduce((sum, tensor) => sum + byteLength(tensor), 0) },
    weight_map: Object.fromEntries(shards.flatMap((shard, i) => shard.map(({ name }) => [name, nameOf(i)]))),
  };
  const text = `${JSON.stringify(index, null, 2)}\n`;
  writeFileAtomic(join(folder, weightIndexFile), text);
  return { ...checksums, [weightIndexFile]: checksumOf(text) };
}

/** Fills one shard after another in the order of the parameters; a tensor above the limit gets a shard of its own. */
function planShards(specs: ParameterSpecs, dtype: Dtype, maxShardBytes: number): TensorToWrite[][] {
  const shards: TensorToWrite[][] = [];
  let room = 0;
  for (const [name, shape] of Object.entries(specs)) {
    const tensor = { name, shape, dtype };
    const size = byteLength(tensor);
    if (shards.length === 0 || size > room) {
      shards.push([]);
      room = maxShardBytes;
    }
    shards.at(-1)!.push(tensor);
    room -= size;
  }
  return shards;
}

function byteLength({ shape, dtype }: TensorToWrite): number {
  return elementCount(shape) * bytesPerElement[dtype];
}

function samePath(a: string, b: string): boolean {
  const real = (path: string) => (existsSync(path) ? realpathSync(path) : resolve(path));
  return real(a) === real(b);
}
