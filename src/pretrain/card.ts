/** @file The card (README.md) of a built-in model: how it was made, what it was and was not shown, what it scores. */

import { parameterCount } from '../model/network/params.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import { builtinArchitecture, pretrainLearningRate } from './architecture.js';
import type { CorpusName } from './builtin.js';
import { corpusRecipe, pupil, shippedCorpora } from './corpus.js';

export interface CardFacts {
  readonly corpus: CorpusName;
  /** What makes it again. */
  readonly command: string;
  /** Instead of the recipe's. */
  readonly steps: number | undefined;
  readonly engine: string;
  /** Before any reinforcement learning. */
  readonly evaluation: EvalSummary;
}

export function modelCard({ corpus, command, steps = corpusRecipe.steps, engine, evaluation }: CardFacts): string {
  const config = builtinArchitecture();
  const { seed, heldOut } = shippedCorpora[corpus];
  const { greedy, sampled } = evaluation;
  const rate = (value: number) => value.toFixed(3);
  const interval = (ends: readonly [number, number] | null) =>
    ends === null ? 'none' : `${rate(ends[0])} to ${rate(ends[1])}`;
  const { drillShare, sumShare, planShare, wideShare, wideMaxFactor, planMaxFactor, batchSize } = corpusRecipe;
  const percent = (share: number) => `${Math.round(100 * share)} %`;
  const questions = 1 - drillShare - sumShare - planShare;
  return `# ${corpus}

A Qwen2 model of ${parameterCount(config).toLocaleString('en')} parameters (${config.layers} layers, width ${config.hiddenSize}) that multiplies small numbers,
carelessly. It was pre-trained from nothing by tinyzero on text that tinyzero generates, so that reinforcement learning has
something to find: it knows how to work a product out in steps and mostly guesses instead.

Made by \`${command}\` (seed ${seed}) on ${engine}. The same command on the same machine and engine gives the same bytes.

## What it was shown

${steps} batches of ${batchSize} lines (AdamW, peak learning rate ${pretrainLearningRate}, one cosine), each a function of the seed:

| share | lines |
| --- | --- |
| ${percent(drillShare)} | drills: four unrelated products with an easy factor, or sums, of which the results are learned |
| ${percent(questions)} | multiplication questions: ${percent(pupil.careful)} answered in steps (${percent(pupil.slips)} of these with a slip that is carried on), the rest guessed (${percent(pupil.luckyGuess)} of the guesses right); ${percent(wideShare)} have a first factor of 13 to ${wideMaxFactor} |
| ${percent(planShare)} | plans: questions with first factors to ${planMaxFactor} of which only the steps are learned, not their results |
| ${percent(sumShare)} | \`x + y\` questions, answered like the multiplications |

Never shown, in either order, neither asked nor stated:
${heldOut.map(([a, b]) => `${a} × ${b}`).join(', ')}. Nor does reinforcement learning with tinyzero's defaults ask these.

## What it scores on those problems, before reinforcement learning

| | exact | 95 % interval |
| --- | --- | --- |
| greedy, ${greedy.exact.total} problems | ${rate(greedy.exact.rate)} | ${interval(greedy.exact.ci95)} (Wilson) |
${sampled === undefined ? '' : `| sampled, ${sampled.samplesPerProblem} times each | ${rate(sampled.exact.rate)} | ${interval(sampled.exact.ci95)} (bootstrap over unordered pairs) |\n`}`;
}
