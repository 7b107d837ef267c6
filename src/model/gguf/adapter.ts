/**
 * @file Writes a LoRA adapter as a GGUF file, which llama.cpp applies to its base (`llama-cli --lora`). Names and metadata are
 * those of llama.cpp's `convert_lora_to_gguf.py`.
 */
import { openAdapter, readAdapterConfig } from '../checkpoint/adapter.js';
import { closeSafetensors } from '../checkpoint/safetensors.js';
import type { ModelConfig } from '../network/config.js';
import { tensorFormats } from './blocks.js';
import { ggufName, turnedHeads, turnRows } from './names.js';
import { type GgufTensorToWrite, type MetadataEntry, writeGguf } from './write.js';

/** Formats that llama.cpp multiplies adapters in. */
export type GgufAdapterFormat = 'f32' | 'f16' | 'bf16';

/**
 * @param folder an adapter in PEFT's format.
 * @param config of its base model.
 * @throws UserError for an adapter that does not fit.
 */
export async function exportGgufAdapter(
  path: string,
  { folder, config, name }: { readonly folder: string; readonly config: ModelConfig; readonly name: string },
  format: GgufAdapterFormat,
): Promise<void> {
  const { rank, alpha } = readAdapterConfig(folder)!;
  const { file, specs, read } = openAdapter(folder, config, rank);
  const metadata: MetadataEntry[] = [
    ['general.architecture', { text: config.family }],
    ['general.type', { text: 'adapter' }],
    ['general.name', { text: name }],
    ['adapter.type', { text: 'lora' }],
    ['adapter.lora.alpha', { f32: alpha }],
  ];
  const tensors = Object.entries(specs).map(([adapter, shape]): GgufTensorToWrite => {
    const weight = adapter.replace(/\.lora_[AB]\.weight$/, '.weight');
    const isB = adapter.endsWith('.lora_B.weight');
    // Only B has the rows of the weight, which are permuted for queries and keys.
    const heads = isB ? turnedHeads(weight, config) : undefined;
    return {
      name: `${ggufName(weight)}.lora_${isB ? 'b' : 'a'}`,
      shape,
      format: tensorFormats[format],
      read: () => (heads === undefined ? read(adapter) : turnRows(read(adapter), heads, config.headDim, 'gguf')),
    };
  });
  try {
    await writeGguf(path, metadata, tensors);
  } finally {
    closeSafetensors(file);
  }
}
