/**
 * @file Opens a GGUF file as a model: its small files, converted into a folder of the cache, and its weights, by their Hugging
 * Face names, checked against the config and widened to float32 as they are read.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { clip, UserError } from '../../util/errors.js';
import { describe } from '../../util/json.js';
import type { Weights } from '../checkpoint/pretrained.js';
import type { ModelConfig } from '../network/config.js';
import { embeddingName, parameterSpecs } from '../network/params.js';
import { cachedFiles } from './files.js';
import { closeGguf, type GgufFile, type GgufTensor, hashGgufTensor, openGguf, readGgufTensor } from './header.js';
import { ggufName, ropeFactorsName, turnedHeads, turnRows } from './names.js';

/** Whether `reference` is an existing file whose name ends in `.gguf`. */
export function isGguf(reference: string): boolean {
  return /\.gguf$/i.test(reference) && existsSync(reference);
}

/** The cache folder with all files of the model except the weights. @throws UserError for an unsupported file. */
export function ggufFolder(path: string): string {
  const file = openGguf(path);
  try {
    return cachedFiles(file);
  } finally {
    closeGguf(file);
  }
}

/** @throws UserError for weights that do not fit `config`. */
export function openGgufWeights(path: string, config: ModelConfig): Weights {
  const file = openGguf(path);
  try {
    return ggufWeights(file, config);
  } catch (error) {
    closeGguf(file);
    throw error;
  }
}

/** Closing the weights closes the file. @throws UserError that lists what does not fit. */
export function ggufWeights(file: GgufFile, config: ModelConfig): Weights {
  const found = checkTensors(file, config);
  const locate = (name: string) => {
    const tensor = found.get(name);
    if (tensor === undefined) throw new Error(`no parameter ${name}`);
    return tensor;
  };
  return {
    dtype: locate(embeddingName).format!.dtype,
    byteLength: [...found.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
    dtypeOf: (name) => locate(name).format!.dtype,
    read(name) {
      const values = readGgufTensor(file, locate(name));
      const heads = turnedHeads(name, config);
      return heads === undefined ? values : turnRows(values, heads, config.headDim, 'hugging face');
    },
    hash() {
      const hash = createHash('sha256');
      for (const name of [...found.keys()].sort()) {
        const tensor = found.get(name)!;
        hash.update(JSON.stringify([name, tensor.formatName, tensor.shape, hashGgufTensor(file, tensor)]));
      }
      return hash.digest('hex');
    },
    close: () => closeGguf(file),
  };
}

function checkTensors(file: GgufFile, config: ModelConfig): Map<string, GgufTensor> {
  const found = new Map<string, GgufTensor>();
  const problems: string[] = [];
  // A file that claims more layers than it has tensors is rejected before their names are built.
  if (config.layers > file.tensors.size) problems.push(`it claims ${config.layers} layers`);
  else {
    const known = new Set([ropeFactorsName]);
    for (const [name, shape] of Object.entries(parameterSpecs(config))) {
      const theirs = ggufName(name);
      const tensor = file.tensors.get(theirs);
      known.add(theirs);
      if (tensor === undefined) problems.push(`\`${theirs}\` is missing`);
      else if (tensor.format === undefined) {
        problems.push(
          `\`${theirs}\` has the type ${tensor.formatName}, which is not read (f32, f16, bf16, q8_0, q4_0, q4_1 are)`,
        );
      } else if (tensor.shape.join() !== shape.join()) {
        problems.push(`\`${theirs}\` is ${describe(tensor.shape)} where ${describe(shape)} is needed`);
      } else found.set(name, tensor);
    }
    for (const name of file.tensors.keys()) if (!known.has(name)) problems.push(`\`${clip(name)}\` is unknown`);
  }
  if (problems.length === 0) return found;
  const rest = problems.length > 5 ? `; and ${problems.length - 5} more problems` : '';
  throw new UserError(`The weights in ${file.path} cannot be used: ${problems.slice(0, 5).join('; ')}${rest}.`);
}
