/**
 * @file Adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors` (PEFT 0.21, LoraConfig).
 * Unsupported settings that change the computation are rejected by name. An adapter opened over its base behaves like any
 * other model: the weights are merged as they are read.
 */
import { createHash } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, checksumOf } from '../../util/checksum.js';
import { UserError } from '../../util/errors.js';
import { makeFolder, readRegularFile, writeFileAtomic } from '../../util/file.js';
import { type JsonRecord, readJsonRecord } from '../../util/json.js';
import { anything, check, integer, number, object, oneOf, optional, text } from '../../util/schema.js';
import type { ModelConfig } from '../network/config.js';
import {
  adapterNames,
  type LoraOptions,
  mergedWeight,
  type ParameterSpecs,
  parameterSpecs,
} from '../network/params.js';
import type { Weights } from './pretrained.js';
import {
  closeSafetensors,
  hashTensor,
  openSafetensors,
  readTensor,
  type SafetensorsFile,
  writeSafetensors,
} from './safetensors.js';
import { carriedFiles } from './save.js';

export const adapterConfigFile = 'adapter_config.json';
export const adapterWeightFile = 'adapter_model.safetensors';

const peftPrefix = 'base_model.model.';

/** The configuration of an adapter. */
export interface AdapterConfig {
  /** A folder or a hub id, with `@revision` where it has one. */
  readonly base: string;
  readonly rank: number;
  readonly alpha: number;
}

const shape = object({
  peft_type: oneOf(['LORA']),
  base_model_name_or_path: text,
  revision: optional(text),
  r: integer({ min: 1 }),
  lora_alpha: number({ above: 0 }),
  bias: optional(oneOf(['none'])),
  fan_in_fan_out: optional(anything),
  use_rslora: optional(anything),
  use_dora: optional(anything),
  modules_to_save: optional(anything),
  rank_pattern: optional(anything),
  alpha_pattern: optional(anything),
  lora_bias: optional(anything),
  alora_invocation_tokens: optional(anything),
});

/** Unsupported fields. Null, false and empty values have no effect and are accepted. */
const unsupported = [
  'fan_in_fan_out',
  'use_rslora',
  'use_dora',
  'modules_to_save',
  'rank_pattern',
  'alpha_pattern',
  'lora_bias',
  'alora_invocation_tokens',
] as const;
const means = (value: unknown) => value !== undefined && value !== null && value !== false && !isEmpty(value);
const isEmpty = (value: unknown) => typeof value === 'object' && value !== null && Object.keys(value).length === 0;

/** The configuration of the adapter in `folder`; undefined if there is none. @throws UserError when it is unsupported. */
export function readAdapterConfig(folder: string): AdapterConfig | undefined {
  const path = join(folder, adapterConfigFile);
  if (!existsSync(path)) return undefined;
  const record = readJsonRecord(path);
  const config = check(shape, record, { path, what: 'the configuration of a LoRA adapter' });
  const wrong = unsupported.filter((name) => means(record[name]));
  if (wrong.length > 0) {
    throw new UserError({
      problem: `${path} uses ${wrong.join(', ')}, which tinyzero does not support.`,
      fix: 'Merge the adapter with PEFT first (`merge_and_unload`).',
    });
  }
  const { base_model_name_or_path: base, revision, r: rank, lora_alpha: alpha } = config;
  return { base: revision === undefined ? base : `${base}@${revision}`, rank, alpha };
}

/** The tensors of the adapter in `folder`, checked against the model. Close the file when done. @throws UserError */
export function openAdapter(
  folder: string,
  config: ModelConfig,
  rank: number,
): { file: SafetensorsFile; specs: ParameterSpecs; read: (name: string) => Float32Array } {
  const path = join(folder, adapterWeightFile);
  const file = openSafetensors(path);
  const weights = parameterSpecs(config);
  const specs: Record<string, readonly number[]> = {};
  for (const [module, [outWidth, inWidth]] of Object.entries(weights).flatMap(([name, size]) =>
    name.endsWith('_proj.weight') ? [[name.replace(/\.weight$/, ''), size] as const] : [],
  )) {
    const { a, b } = adapterNames(module);
    if (!file.tensors.has(peftPrefix + a) && !file.tensors.has(peftPrefix + b)) continue;
    specs[a] = [rank, inWidth!];
    specs[b] = [outWidth!, rank];
  }
  const bad = [
    ...Object.entries(specs).flatMap(([name, size]) => {
      const entry = file.tensors.get(peftPrefix + name);
      if (entry === undefined) return [`${name} is missing`];
      return entry.shape.join() === size.join() && entry.dtype !== undefined
        ? []
        : [`${name} is ${entry.format} [${entry.shape.join(', ')}], not [${size.join(', ')}]`];
    }),
    ...[...file.tensors.keys()]
      .filter((name) => !(name.slice(peftPrefix.length) in specs))
      .map((name) => `${name} is unknown`),
  ];
  if (bad.length > 0 || Object.keys(specs).length === 0) {
    closeSafetensors(file);
    throw new UserError({
      problem: `${path} does not fit its base model: ${bad.slice(0, 3).join('; ') || 'it has no adapter'}.`,
      fix: `Check that base_model_name_or_path in ${adapterConfigFile} names the model that it was trained on.`,
    });
  }
  return { file, specs, read: (name) => readTensor(file, file.tensors.get(peftPrefix + name)!) };
}

/** The weights of `base` merged with the adapter in `folder`. Closing them closes both. @throws UserError */
export function mergedWeights(folder: string, adapter: AdapterConfig, config: ModelConfig, base: Weights): Weights {
  const { file, specs, read } = openAdapter(folder, config, adapter.rank);
  const isAdapted = (name: string) => adapterNames(name.replace(/\.weight$/, '')).a in specs;
  return {
    dtype: base.dtype,
    byteLength: base.byteLength,
    dtypeOf: (name) => (isAdapted(name) ? 'float32' : base.dtypeOf(name)),
    read(name) {
      const weight = base.read(name);
      if (!isAdapted(name)) return weight;
      const { a, b } = adapterNames(name.replace(/\.weight$/, ''));
      return mergedWeight(weight, read(a), read(b), adapter);
    },
    hash() {
      const hash = createHash('sha256')
        .update(base.hash())
        .update(JSON.stringify([adapter.alpha, adapter.rank]));
      for (const name of Object.keys(specs)) hash.update(name + hashTensor(file, file.tensors.get(peftPrefix + name)!));
      return hash.digest('hex');
    },
    close() {
      closeSafetensors(file);
      base.close();
    },
  };
}

export interface AdapterToSave {
  readonly lora: LoraOptions;
  readonly specs: ParameterSpecs;
  /** A folder or a hub id, with `@revision` where it has one. */
  readonly base: string;
  /** The base's `config.json`, which makes the folder self-describing. Written last: a folder with it is complete. */
  readonly configRecord: JsonRecord;
  /** The folder whose tokenizer and generation files are copied. */
  readonly carryFrom: string;
  read(name: string): Float32Array;
}

/**
 * Writes an adapter into `folder`, creating it, in float32. `config.json` goes last.
 *
 * @returns the checksum of every file, by name.
 */
export async function saveAdapter(folder: string, adapter: AdapterToSave): Promise<Record<string, Checksum>> {
  const { lora, specs, base, configRecord, carryFrom, read } = adapter;
  makeFolder(folder);
  rmSync(join(folder, 'config.json'), { force: true });
  const tensors = Object.entries(specs).map(([name, size]) => ({
    name: peftPrefix + name,
    shape: size,
    dtype: 'float32' as const,
  }));
  const checksums: Record<string, Checksum> = {
    [adapterWeightFile]: await writeSafetensors(join(folder, adapterWeightFile), tensors, (name) =>
      read(name.slice(peftPrefix.length)),
    ),
  };
  const put = (name: string, data: string | Uint8Array) => {
    writeFileAtomic(join(folder, name), data);
    checksums[name] = checksumOf(data);
  };
  const [name, revision] = existsSync(base) ? [base] : base.split('@');
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: name,
    revision: revision ?? null,
    r: lora.rank,
    lora_alpha: lora.alpha,
    lora_dropout: 0,
    target_modules: lora.targets,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    modules_to_save: null,
    layers_to_transform: null,
    layers_pattern: null,
    rank_pattern: {},
    alpha_pattern: {},
    use_rslora: false,
    use_dora: false,
  };
  put(adapterConfigFile, `${JSON.stringify(config, null, 2)}\n`);
  for (const file of carriedFiles) {
    const source = join(carryFrom, file);
    if (existsSync(source)) put(file, readRegularFile(source));
  }
  put('config.json', `${JSON.stringify(configRecord, null, 2)}\n`);
  return checksums;
}
