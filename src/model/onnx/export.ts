/**
 * @file Writes a model for transformers.js: the graph in `onnx/`, and config.json, tokenizer and generation files.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder, readRegularFile, writeFileAtomic } from '../../util/file.js';
import { readJsonRecord } from '../../util/json.js';
import type { Pretrained } from '../checkpoint/pretrained.js';
import { carriedFiles } from '../checkpoint/save.js';
import type { Tokenizer } from '../checkpoint/tokenizer.js';
import { readTokenizerFiles, withAllParts } from '../checkpoint/tokenizer-file.js';
import { decoderGraph } from './decoder.js';
import type { OnnxFormat } from './parameters.js';
import { writeOnnx } from './write.js';

/** The formats' names in transformers.js, and the suffixes of its file names. */
export const onnxDtypes = { f32: 'fp32', f16: 'fp16', q8: 'q8' } as const satisfies Record<OnnxFormat, string>;
const suffixes: Readonly<Record<OnnxFormat, string>> = { f32: '', f16: '_fp16', q8: '_quantized' };

export interface OnnxModel {
  readonly pretrained: Pretrained;
  readonly tokenizer: Tokenizer;
  readonly tokenizerFolder: string;
}

/**
 * Writes the folder.
 *
 * @param limit size in bytes above which tensors are stored in files beside the graph; default 2 GB.
 * @returns the files of the graph.
 * @throws the system error of a failing write.
 */
export async function exportOnnx(
  folder: string,
  { pretrained, tokenizer, tokenizerFolder }: OnnxModel,
  format: OnnxFormat,
  limit?: number,
): Promise<string[]> {
  const { config, configRecord, generation, weights } = pretrained;
  makeFolder(join(folder, 'onnx'));
  const name = `model${suffixes[format]}.onnx`;
  const path = join(folder, 'onnx', name);
  const { dataFiles } = await writeOnnx(path, decoderGraph(config, weights, format), limit);

  const put = (file: string, data: string | Uint8Array) => writeFileAtomic(join(folder, file), data);
  for (const file of carriedFiles) {
    const source = [tokenizerFolder, pretrained.folder]
      .map((from) => join(from, file))
      .find((from) => existsSync(from));
    if (source !== undefined) put(file, readRegularFile(source));
  }
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  // transformers.js wants parts that other programs may leave out, and reads the template only from the second file.
  put('tokenizer.json', JSON.stringify(withAllParts(readTokenizerFiles(tokenizerFolder).json)));
  const settings = join(folder, 'tokenizer_config.json');
  const tokenizerConfig = existsSync(settings) ? readJsonRecord(settings) : {};
  const template = tokenizer.chatTemplate === null ? {} : { chat_template: tokenizer.chatTemplate };
  put('tokenizer_config.json', json({ ...tokenizerConfig, ...template }));
  if (!existsSync(join(folder, 'generation_config.json'))) {
    put('generation_config.json', json({ eos_token_id: generation.eosTokenIds, pad_token_id: config.padTokenId }));
  }
  const external = dataFiles.length > 0 && { use_external_data_format: { [name]: dataFiles.length } };
  put(
    'config.json',
    json({
      ...configRecord,
      num_key_value_heads: config.kvHeads,
      head_dim: config.headDim,
      ...(external && { 'transformers.js_config': external }),
    }),
  );
  return [name, ...dataFiles].map((file) => join(folder, 'onnx', file));
}
