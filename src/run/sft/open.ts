/** @file Reads the settings and examples of supervised training, without weights or an engine. */
import { parameterCount } from '../../model/network/params.js';
import { type DescribedModel, usageError } from '../../model/open.js';
import { heldOutSplitOf, requireNoAdapter } from '../../options/settings.js';
import { completeSftSettings, type SftOptions, type SftSettings } from '../../options/sft-settings.js';
import { readText } from '../../util/json-lines.js';
import { type ExampleSet, exampleLine, readExamples } from './examples.js';

/** @param content the training data. @throws UserError for invalid options or lines. */
export function openExamples(
  options: SftOptions,
  content: string,
  { pretrained, tokenizer }: DescribedModel,
): { readonly settings: SftSettings; readonly examples: ExampleSet } {
  const settings = completeSftSettings(options, {
    heldOut: heldOutSplitOf(pretrained.configRecord),
    hasChatTemplate: tokenizer.chatTemplate !== null,
    parameters: parameterCount(pretrained.config),
  });
  const { promptStyle, system, heldOut: share, seed } = settings;
  requireNoAdapter(settings, pretrained);
  const reader = { tokenizer, pretrained, promptStyle, system };
  const examples = readExamples(options.data ?? 'the data', content, reader, { share, seed });
  return { settings, examples };
}

/** The content of `--data`. @throws UserError when it is missing or cannot be read. */
export async function readData({ data }: SftOptions, signal: AbortSignal): Promise<string> {
  if (data !== undefined) return await readText(data, signal);
  throw usageError('--data is missing: a file of JSON lines to train on.', `A line looks like ${exampleLine}`);
}
