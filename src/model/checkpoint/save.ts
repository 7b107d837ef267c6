/**
 * @file Saves a model as a Hugging Face folder that transformers and vLLM can load: weights in one file or in shards, the
 * config, and unchanged copies of the source model's tokenizer and generation files. Each file is written atomically and
 * `config.json` last, so a folder without it is an unfinished save, which readers reject.
 */
import { existsSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Checksum, checksumOf } from '../../util/checksum.js';
import { UserError } from '../../util/errors.js';
import { makeFolder, readRegularFile, writeFileAtomic } from '../../util/file.js';
import type { JsonRecord } from '../../util/json.js';
import type { ParameterSpecs } from '../network/params.js';
import type { Dtype } from './dtype.js';
import { singleWeightFile, weightIndexFile } from './pretrained.js';
import { bytesOf, type TensorToWrite, writeSafetensors } from './safetensors.js';

/** Files of a model besides config and weights. Those that the source has are copied unchanged. */
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
  /** The config to write; only its dtype field is changed, to `dtype`. */
  readonly configRecord: JsonRecord;
  readonly specs: ParameterSpecs;
  readonly dtype: Dtype;
  /** Values of one parameter, float32 and row-major; called for one parameter at a time. */
  read(name: string): Float32Array | Promise<Float32Array>;
  /** The folder whose tokenizer and generation files are copied, if any. */
  readonly carryFrom?: string;
  /** Weight files larger than this are split, as transformers does. */
  readonly maxShardBytes?: number;
}

/**
 * Writes `model` into `folder`, creating it. An older model there is replaced; its config is removed first, so that an
 * interrupted save cannot leave a loadable mix of two models.
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

/** Sets the dtype under the name that the config uses; older versions of transformers know only `torch_dtype`. */
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
    metadata: { total_size: shards.flat().reduce((sum, tensor) => sum + bytesOf(tensor), 0) },
    weight_map: Object.fromEntries(shards.flatMap((shard, i) => shard.map(({ name }) => [name, nameOf(i)]))),
  };
  const text = `${JSON.stringify(index, null, 2)}\n`;
  writeFileAtomic(join(folder, weightIndexFile), text);
  return { ...checksums, [weightIndexFile]: checksumOf(text) };
}

/** Assigns parameters to shards in order. A tensor above the limit gets its own shard. */
function planShards(specs: ParameterSpecs, dtype: Dtype, maxShardBytes: number): TensorToWrite[][] {
  const shards: TensorToWrite[][] = [];
  let room = 0;
  for (const [name, shape] of Object.entries(specs)) {
    const tensor = { name, shape, dtype };
    const size = bytesOf(tensor);
    if (shards.length === 0 || size > room) {
      shards.push([]);
      room = maxShardBytes;
    }
    shards.at(-1)!.push(tensor);
    room -= size;
  }
  return shards;
}

function samePath(a: string, b: string): boolean {
  const real = (path: string) => (existsSync(path) ? realpathSync(path) : resolve(path));
  return real(a) === real(b);
}
