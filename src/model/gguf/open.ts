/** @file Tells a GGUF file from other names of models, and says where its parts are. */
import { existsSync } from 'node:fs';
import type { Weights } from '../checkpoint/pretrained.js';
import type { ModelConfig } from '../network/config.js';
import { cachedFiles } from './files.js';
import { closeGguf, openGguf } from './header.js';
import { ggufWeights } from './weights.js';

/** Whether `reference` names something that exists and is called `.gguf`. */
export function isGguf(reference: string): boolean {
  return /\.gguf$/i.test(reference) && existsSync(reference);
}

/** The folder in the cache with all files of the model but its weights. @throws UserError for whatever is wrong with it. */
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
