/**
 * @file The check of `doctor --model`: opens the model as every command does and checks all tensors against the config,
 * without computing. Downloads nothing: a hub id is looked up in the cache.
 */
import { describePretrained, openWeights } from '../../model/checkpoint/pretrained.js';
import { loadTokenizer } from '../../model/checkpoint/tokenizer.js';
import { ggufFolder, isGguf, openGgufWeights } from '../../model/gguf/open.js';
import { resolveModel } from '../../model/hub/model.js';
import { hubSettings } from '../../model/hub/repo.js';
import { parameterCount } from '../../model/network/params.js';
import { trainedModel } from '../../run/checkpoints.js';
import { UserError } from '../../util/errors.js';
import { formatBytes } from '../../util/format.js';
import type { Check } from './machine.js';

export async function modelCheck(reference: string): Promise<Check> {
  const common = {
    name: 'model',
    needed: true,
    expected: 'a complete Hugging Face folder, or a GGUF file, of a qwen2, qwen3 or llama model',
    fix: 'Check the name. A hub model is downloaded by any command that uses it.',
  };
  try {
    const gguf = isGguf(reference);
    const place = gguf
      ? ggufFolder(reference)
      : await resolveModel(trainedModel(reference), { settings: { ...hubSettings(), offline: true } });
    const { config } = describePretrained(place);
    const weights = gguf ? openGgufWeights(reference, config) : openWeights(place, config);
    const { dtype, byteLength } = weights;
    weights.close();
    loadTokenizer(place);
    const parameters = parameterCount(config).toLocaleString('en');
    const found = gguf ? reference : place;
    return { ...common, ok: true, found: `${found}: ${parameters} parameters, ${dtype}, ${formatBytes(byteLength)}` };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { ...common, ok: false, found: error.message };
  }
}
