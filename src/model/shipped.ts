/** @file The models that come with tinyzero: the names that `--model` takes, and the field by which they are known. */
import { fileURLToPath } from 'node:url';
import type { JsonRecord } from '../util/json.js';

export const builtinModel = 'builtin';

const folders: Readonly<Record<string, string>> = { [builtinModel]: 'tiny', 'builtin-b': 'tiny-b' };

/** The folder of a model that comes with tinyzero; any other reference as it is. */
export function shippedModel(reference: string): string {
  const folder = Object.hasOwn(folders, reference) ? folders[reference] : undefined;
  return folder === undefined ? reference : fileURLToPath(new URL(`../../../models/${folder}`, import.meta.url));
}

/** The field of config.json by which a built-in model is known, and everything that is trained from it. */
export const heldOutField = 'tinyzero_held_out';

/** Whether a config.json is that of a built-in model, or of one trained from it. */
export function isBuiltin(configRecord: JsonRecord): boolean {
  return Object.hasOwn(configRecord, heldOutField);
}
