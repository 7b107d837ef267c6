/**
 * @file Opens a Hugging Face model folder: config, end ids, and weights in one file or in shards. Tensors are read on demand,
 * but all names, shapes and types are checked against the config first, so that a wrong folder fails before any work is
 * done. Independent of tokenizers and the tensor engine.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { isAbsolute, join, normalize, sep } from 'node:path';
import { clip, UserError } from '../../util/errors.js';
import { describe, type JsonRecord, readJsonRecord } from '../../util/json.js';
import { check, mapOf, object, text } from '../../util/schema.js';
import { type ModelConfig, parseModelConfig } from '../network/config.js';
import { embeddingName, headName, parameterSpecs } from '../network/params.js';
import type { Dtype } from './dtype.js';
import { type GenerationConfig, readGenerationConfig } from './generation-config.js';
import {
  closeSafetensors,
  hashTensor,
  openSafetensors,
  readTensor,
  type SafetensorsFile,
  type TensorEntry,
} from './safetensors.js';

export interface Pretrained {
  readonly folder: string;
  readonly config: ModelConfig;
  /** The unchanged content of `config.json`, written again when saving. */
  readonly configRecord: JsonRecord;
  readonly generation: GenerationConfig;
  readonly weights: Weights;
  /** The folder of the adapter that is merged into the weights, if any. */
  readonly adapterFolder?: string;
}

/** The checked tensors of a folder: exactly those of `parameterSpecs(config)`. Close when done. */
export interface Weights {
  /** Dtype of the embedding; other tensors may differ. */
  readonly dtype: Dtype;
  /** Bytes of all tensors as stored. */
  readonly byteLength: number;
  dtypeOf(name: string): Dtype;
  /** Values of a tensor, row-major float32, in a new array. */
  read(name: string): Float32Array;
  /** SHA-256 over names, types, shapes and bytes; independent of how the tensors are split into files. */
  hash(): string;
  close(): void;
}

/** Opens a model folder. @throws UserError naming the file and what is wrong with it. */
export function openPretrained(folder: string): Pretrained {
  const description = describePretrained(folder);
  return { ...description, weights: openWeights(folder, description.config) };
}

/** Config and end ids of the model in `folder`; its weights may be missing. */
export function describePretrained(folder: string): Omit<Pretrained, 'weights'> {
  const configPath = join(folder, 'config.json');
  if (!isFolder(folder)) {
    throw new UserError({
      problem: `There is no model folder ${folder}.`,
      fix: 'Use a folder that has a config.json.',
    });
  }
  if (!existsSync(configPath)) {
    throw new UserError({ problem: `${folder} is not a model folder: it has no config.json.` });
  }
  const configRecord = readJsonRecord(configPath);
  const config = parseModelConfig(configRecord, configPath);
  const generation = readGenerationConfig(folder, config);
  return { folder, config, configRecord, generation };
}

export function openWeights(folder: string, config: ModelConfig): Weights {
  const files: SafetensorsFile[] = [];
  const close = () => {
    for (const file of files.splice(0)) closeSafetensors(file);
  };
  try {
    for (const name of weightFiles(folder)) files.push(openSafetensors(join(folder, name)));
    const found = checkTensors(folder, files, config);
    const locate = (name: string) => {
      const place = found.get(name);
      if (place === undefined) throw new Error(`no parameter ${name}`);
      return place;
    };
    return {
      dtype: locate(embeddingName).entry.dtype!,
      byteLength: [...found.values()].reduce((sum, { entry }) => sum + entry.byteLength, 0),
      dtypeOf: (name) => locate(name).entry.dtype!,
      read: (name) => readTensor(locate(name).file, locate(name).entry),
      hash: () => hashAll(found),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

export const singleWeightFile = 'model.safetensors';
export const weightIndexFile = 'model.safetensors.index.json';

/** Names of the weight files, relative to `folder`. As in transformers, a single file takes precedence over an index. */
export function weightFiles(folder: string): string[] {
  if (existsSync(join(folder, singleWeightFile))) return [singleWeightFile];
  const index = join(folder, weightIndexFile);
  if (existsSync(index)) return shardNames(index);
  const pickle = readdirSync(folder).find((name) => /^pytorch_model.*\.bin/.test(name));
  throw new UserError({
    problem: `${folder} has no weights: neither ${singleWeightFile} nor ${weightIndexFile}.`,
    found: pickle && `${pickle}, a pickle, which can run code when loaded`,
    fix: pickle && 'Convert it to safetensors with the library that made it.',
  });
}

const indexShape = object({ weight_map: mapOf(text) });

function shardNames(indexPath: string): string[] {
  const { weight_map: map } = check(indexShape, readJsonRecord(indexPath), { path: indexPath });
  if (map.size === 0) throw new UserError(`${indexPath} places no tensor in any file: its \`weight_map\` is empty.`);
  const names = new Set<string>();
  for (const [tensor, name] of map) {
    if (!staysInside(name)) {
      throw new UserError({
        problem: `${indexPath} places tensor ${describe(tensor)} in ${describe(name)}.`,
        expected: 'a file inside the model folder',
      });
    }
    names.add(name);
  }
  return [...names].sort();
}

/** Checks only the path's text, since in the Hugging Face cache the files themselves link to another folder. */
function staysInside(name: string): boolean {
  const path = normalize(name);
  const climbs = path === '..' || path.startsWith(`..${sep}`);
  return name !== '' && path !== '.' && !climbs && !isAbsolute(name) && !/[\\\0:]/.test(name);
}

interface Place {
  readonly file: SafetensorsFile;
  readonly entry: TensorEntry;
}

/** Constants in old checkpoints that every library recomputes. */
const ignoredTensors = /^model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$/;

function checkTensors(folder: string, files: readonly SafetensorsFile[], config: ModelConfig): Map<string, Place> {
  const count = files.reduce((sum, { tensors }) => sum + tensors.size, 0);
  // Reject a config with more layers than there are tensors before listing the parameters of every layer.
  if (config.layers > count) {
    throw new UserError({
      problem: `The weights in ${folder} do not fit its config.json, which states ${config.layers} layers.`,
      found: `${count} tensors in all`,
      fix: 'Are all files of the folder from the same model?',
    });
  }
  const specs = parameterSpecs(config);
  const problems: string[] = [];
  const found = new Map<string, Place>();
  for (const file of files) {
    for (const entry of file.tensors.values()) {
      const { name } = entry;
      const shape = Object.hasOwn(specs, name) ? specs[name] : undefined;
      const first = found.get(name);
      if (first !== undefined) problems.push(`\`${clip(name)}\` is in two files`);
      else found.set(name, { file, entry });
      if (shape === undefined) {
        if (!(config.tied && name === headName) && !ignoredTensors.test(name))
          problems.push(`\`${clip(name)}\` is unknown`);
      } else if (shape.join() !== entry.shape.join()) {
        problems.push(`\`${clip(name)}\` is ${describe(entry.shape)} where the config needs ${describe(shape)}`);
      } else if (entry.dtype === undefined) {
        problems.push(`\`${clip(name)}\` has the unsupported type ${entry.format}`);
      }
    }
  }
  for (const name of Object.keys(specs)) if (!found.has(name)) problems.push(`\`${clip(name)}\` is missing`);
  if (problems.length > 0) {
    const shown = problems.slice(0, 5).join('; ');
    const rest = problems.length > 5 ? `; and ${problems.length - 5} more problems` : '';
    throw new UserError({
      problem: `The weights in ${folder} do not fit its config.json: ${shown}${rest}.`,
      fix: 'Are all files of the folder from the same model?',
    });
  }
  refuseAmbiguousHead(folder, config, found);
  return new Map([...found].filter(([name]) => Object.hasOwn(specs, name)));
}

/**
 * A tied checkpoint may still contain `lm_head.weight`. If it equals the embedding, it is a redundant copy. If it differs,
 * transformers 4 ignores it but transformers 5 uses it, so the checkpoint is rejected.
 */
function refuseAmbiguousHead(folder: string, config: ModelConfig, found: ReadonlyMap<string, Place>): void {
  const head = found.get(headName);
  const embedding = found.get(embeddingName);
  if (!config.tied || head === undefined || embedding === undefined) return;
  const same =
    head.entry.format === embedding.entry.format &&
    hashTensor(head.file, head.entry) === hashTensor(embedding.file, embedding.entry);
  if (same) return;
  throw new UserError({
    problem: `${folder} says \`tie_word_embeddings\` but its ${headName} differs from ${embeddingName}.`,
    fix: `Set \`tie_word_embeddings\` to false in config.json to use ${headName}, or remove that tensor.`,
  });
}

/**
 * Identifies what the model computes: SHA-256 over `config.json` and the names, types, shapes and bytes of the tensors.
 * Moving, copying or re-sharding a model does not change it; changing one bit of a weight does. Reads every weight once.
 */
export function fingerprintModel({ configRecord, weights }: Pretrained): string {
  return createHash('sha256').update(JSON.stringify(configRecord)).update(weights.hash()).digest('hex');
}

function hashAll(found: ReadonlyMap<string, Place>): string {
  const hash = createHash('sha256');
  for (const name of [...found.keys()].sort()) {
    const { file, entry } = found.get(name)!;
    hash.update(JSON.stringify([name, entry.format, entry.shape, hashTensor(file, entry)]));
  }
  return hash.digest('hex');
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
