/** @file The card (README.md) of a built-in model: how it was made, what it was and was not shown, what it scores. */
import type { EvalSummary } from './eval-summary.js';
import type { CorpusName } from './make-builtin.js';
import { parameterCount } from './model/params.js';
import { builtinArchitecture, phaseLearningRates } from './pretrain/architecture.js';
import { corpusPhases, shippedCorpora } from './pretrain/corpus.js';

export interface CardFacts {
  readonly corpus: CorpusName;
  /** What makes it again. */
  readonly command: string;
  readonly engine: string;
  /** Before any reinforcement learning. */
  readonly evaluation: EvalSummary;
}

export function modelCard({ corpus, command, engine, evaluation }: CardFacts): string {
  const config = builtinArchitecture();
  const { seed, heldOut } = shippedCorpora[corpus];
  const { greedy, sampled } = evaluation;
  const rate = (value: number) => value.toFixed(3);
  const interval = ([low, high]: readonly [number, number]) => `${rate(low)} to ${rate(high)}`;
  const phases = corpusPhases.map(
    ({ name, steps, batchSize, drillShare, wideShare }, i) =>
      `| ${name} | ${steps} | ${batchSize} | ${phaseLearningRates[i]} | ${drillShare} | ${wideShare} |`,
  );
  return `# ${corpus}

A Qwen2 model of ${parameterCount(config).toLocaleString('en')} parameters (${config.layers} layers, width ${config.hiddenSize}) that multiplies small numbers,
carelessly. It was pre-trained from nothing by tinyzero on text that tinyzero generates, so that reinforcement learning has
something to find: it knows how to work a product out in steps and mostly guesses instead.

Made by \`${command}\` (seed ${seed}) on ${engine}. The same command on the same machine and engine gives the same bytes.

## What it was shown

Drill lines, and multiplication questions of which 40 % are answered in steps (one in seven of these with a slip that is
carried on) and 60 % guessed (one guess in ten right). Never, in either order, neither asked nor stated:
${heldOut.map(([a, b]) => `${a} × ${b}`).join(', ')}. Nor does reinforcement learning with tinyzero's defaults ask these.

| phase | steps | rows a step | peak learning rate | drills | first factor 13 to 20 |
| --- | --- | --- | --- | --- | --- |
${phases.join('\n')}

## What it scores on those problems, before reinforcement learning

| | exact | 95 % interval |
| --- | --- | --- |
| greedy, ${greedy.exact.total} problems | ${rate(greedy.exact.rate)} | ${interval(greedy.exact.ci95)} (Wilson) |
${sampled === undefined ? '' : `| sampled, ${sampled.samplesPerProblem} times each | ${rate(sampled.exact.rate)} | ${interval(sampled.exact.ci95)} (bootstrap over unordered pairs) |\n`}`;
}
