/**
 * @file Disk space that a run needs, by purpose, computed from the model's config.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Freeze } from '../engine/choices.js';
import { bytesPerElement } from '../model/checkpoint/dtype.js';
import { type Pretrained, singleWeightFile, weightIndexFile } from '../model/checkpoint/pretrained.js';
import { isGguf } from '../model/gguf/open.js';
import type { ModelConfig } from '../model/network/config.js';
import { adapterSpecs } from '../model/network/lora.js';
import {
  elementCount,
  type LoraOptions,
  type ParameterSpecs,
  parameterCount,
  parameterSpecs,
  trainedSpecs,
} from '../model/network/params.js';
import { momentSpecsOf } from '../policy/layout.js';

/** Bytes by purpose. */
export type Parts = Readonly<Record<string, number>>;

export function totalBytes(parts: Parts): number {
  return Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);
}

/** Bytes of float32 tensors. */
export function specBytes(specs: ParameterSpecs): number {
  return bytesPerElement.float32 * Object.values(specs).reduce((sum, shape) => sum + elementCount(shape), 0);
}

export interface DiskPlan {
  readonly parts: Parts;
  readonly bytes: number;
}

interface DiskWork {
  /** Checkpoints kept. */
  readonly keep: number;
  /** Whether the best model is kept besides, without moments. */
  readonly best?: boolean;
  /** Bytes of weights still to be downloaded. */
  readonly download: number;
  /** Absent: the weights are trained and saved. */
  readonly lora?: LoraOptions | undefined;
  /** Weights that are not trained: they are saved, but have no moments. */
  readonly freeze?: Freeze | undefined;
  /** The server, if there is one. */
  readonly server?: 'samples' | 'trains';
}

/** Two on the server, and the next one (model/server/adapters.ts). */
const sentAdapters = 3;

/**
 * Peak disk space of a run, in bytes: checkpoints (while the newest is being written), the trained model, and the download.
 */
export function planDisk(
  config: ModelConfig,
  { keep, best = false, download, lora, freeze, server }: DiskWork,
): DiskPlan {
  const adapters = lora && adapterSpecs(config, lora);
  const weights = specBytes(adapters ?? parameterSpecs(config));
  // A server that trains keeps the moments itself.
  const moments = server === 'trains' ? 0 : specBytes(momentSpecsOf(adapters ?? trainedSpecs(config, freeze)));
  const parts = {
    ...(download > 0 && { download }),
    // One extra checkpoint exists until the newest is complete.
    checkpoints: (keep + 1) * (weights + moments) + (best ? weights : 0),
    ...(server === 'samples' && { 'adapters for the server': sentAdapters * weights }),
    'trained model': weights,
  };
  return { parts, bytes: totalBytes(parts) };
}

/** Bytes of weights that a run would still have to download. */
export function missingBytes(name: string, { folder, config }: Pick<Pretrained, 'folder' | 'config'>): number {
  const isHere = isGguf(name) || [singleWeightFile, weightIndexFile].some((file) => existsSync(join(folder, file)));
  return isHere ? 0 : parameterCount(config) * bytesPerElement[config.dtype];
}
