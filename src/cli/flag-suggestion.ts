/** @file Which flag a wrong one was meant to be: one that other programs have for the same, or one that is spelt alike. */
import { closestMatch } from 'leven';
import { flag, type OptionName } from '../options/table.js';

/** What people type for our flags, without the dashes. */
const otherNames: Readonly<Partial<Record<OptionName, readonly string[]>>> = {
  model: ['m', 'checkpoint', 'model-name', 'model-path'],
  reference: ['ref', 'ref-model', 'reference-model'],
  precision: ['dtype', 'bf16'],
  prompt: ['p', 'text'],
  input: ['i', 'file', 'input-file'],
  temperature: ['t', 'temp'],
  maxNewTokens: ['max-tokens', 'max-length', 'max-completion-length'],
  samples: ['n', 'num-completions'],
  numTrain: ['train-size'],
  numTest: ['test-size'],
  seed: ['s', 'random-seed'],
  numSamples: ['num-generations', 'n-samples'],
  algo: ['algorithm', 'method'],
  epochs: ['e', 'num-epochs', 'num-train-epochs'],
  batchSize: ['b', 'batch', 'train-batch-size'],
  lr: ['l', 'learning-rate'],
  out: ['o', 'output', 'output-dir', 'output-folder'],
  resume: ['r', 'resume-from-checkpoint', 'continue'],
  saveEvery: ['save-steps'],
};

/** @param wrong `--learning-rate` or `-o`. @param names options of the command. */
export function flagMeantBy(wrong: string, names: readonly OptionName[]): string | undefined {
  const word = wrong.replace(/^-+/, '');
  const named = names.find((name) => otherNames[name]?.includes(word));
  if (named !== undefined) return flag(named);
  // Up to a third of the letters wrong is a slip, more is another word.
  const maxDistance = Math.max(2, Math.floor(wrong.length / 3));
  return word.length > 1 ? closestMatch(wrong, names.map(flag), { maxDistance }) : undefined;
}
