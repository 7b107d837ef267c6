/** @file The beginning of a safetensors file that is written: its header, and the order of its tensors. No files and no Node. */
import { bytesPerElement, type Dtype } from './dtype.js';

export interface TensorToWrite {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: Dtype;
}

/** The format's names of the number formats that are written. */
const formatName: Readonly<Record<Dtype, string>> = { float32: 'F32', bfloat16: 'BF16', float16: 'F16' };

export function bytesOf({ shape, dtype }: TensorToWrite): number {
  return shape.reduce((a, b) => a * b, 1) * bytesPerElement[dtype];
}

/** @returns all bytes before the first tensor, and the tensors in the order in which they follow. */
export function safetensorsLayout<Tensor extends TensorToWrite>(
  tensors: readonly Tensor[],
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): { readonly head: Uint8Array; readonly ordered: readonly Tensor[] } {
  // The reference's order: by alignment, then by name, so that every tensor starts aligned.
  const ordered = [...tensors].sort(
    (a, b) => bytesPerElement[b.dtype] - bytesPerElement[a.dtype] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  for (const tensor of ordered) {
    const begin = end;
    end += bytesOf(tensor);
    header[tensor.name] = { dtype: formatName[tensor.dtype], shape: tensor.shape, data_offsets: [begin, end] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(json.length / 8) * 8;
  const head = new Uint8Array(8 + length).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  head.set(json, 8);
  return { head, ordered };
}

/** A whole file of float32 tensors, in memory. */
export async function float32File(
  specs: Readonly<Record<string, readonly number[]>>,
  read: (name: string) => Promise<Float32Array>,
): Promise<ArrayBuffer> {
  const tensors = Object.entries(specs).map(([name, shape]) => ({ name, shape, dtype: 'float32' as const }));
  const { head, ordered } = safetensorsLayout(tensors);
  const file = new Uint8Array(ordered.reduce((sum, tensor) => sum + bytesOf(tensor), head.length));
  file.set(head);
  let at = head.length;
  for (const tensor of ordered) {
    const values = await read(tensor.name);
    file.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += bytesOf(tensor);
  }
  return file.buffer;
}
