/** @file The models that come with tinyzero, by the names that `--model` takes. */
import { fileURLToPath } from 'node:url';

export const builtinModel = 'builtin';

const folders: Readonly<Record<string, string>> = { [builtinModel]: 'tiny', 'builtin-b': 'tiny-b' };

/** The folder of a model that comes with tinyzero; any other reference as it is. */
export function shippedModel(reference: string): string {
  const folder = Object.hasOwn(folders, reference) ? folders[reference] : undefined;
  return folder === undefined ? reference : fileURLToPath(new URL(`../../../models/${folder}`, import.meta.url));
}
