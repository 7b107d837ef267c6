/** @file The models that come with tinyzero: their names for `--model`, and the config field that identifies them. */
import { fileURLToPath } from 'node:url';
import type { JsonRecord } from '../util/json.js';

export const builtinModel = 'builtin';

const folders: Readonly<Record<string, string>> = { [builtinModel]: 'tiny', 'builtin-b': 'tiny-b' };

/** The folder of a model that comes with tinyzero; any other reference is returned unchanged. */
export function shippedModel(reference: string): string {
  const folder = Object.hasOwn(folders, reference) ? folders[reference] : undefined;
  return folder === undefined ? reference : fileURLToPath(new URL(`../../../models/${folder}`, import.meta.url));
}

/** The config.json field that identifies a built-in model and everything trained from it. */
export const heldOutField = 'tinyzero_held_out';

/** Whether a config.json belongs to a built-in model or to one trained from it. */
export function isBuiltin(configRecord: JsonRecord): boolean {
  return Object.hasOwn(configRecord, heldOutField);
}
