/**
 * @file The policy of a run: the sizes of its program, and how it is trained. No files and no Node, since a page uses them too.
 */
import type { Problem } from '../../data/problem.js';
import type { Settings } from '../../options/settings.js';
import type { PolicySizes, TrainingOptions } from '../../policy/policy.js';
import { promptIds, type RolloutKit } from '../../policy/rollout.js';
import { type Algorithm, algorithms } from '../../stage2/algorithm.js';

/** How a policy is trained. */
export function policyTraining(settings: Settings): TrainingOptions {
  const { batchSize, microBatch, lora, seed, optimizer, maxGradientNorm } = settings;
  const algorithm: Algorithm = algorithms[settings.algo];
  return {
    batchSize,
    microBatch,
    lora,
    seed,
    optimizer,
    maxGradientNorm,
    loss: (arithmetic, row) => algorithm.loss(arithmetic, row, settings),
    anchor: algorithm.anchor,
    addsValue: algorithm.addsValue,
    scores: algorithm.tracksValues,
  };
}

/**
 * Rollouts decoded at once, memory permitting. With the built-in model on 2 cores, 4,000 rollouts of 32 tokens take 1.5 s
 * with 128 slots and 1.3 s with 256 or 512 (docs/log.md).
 */
const defaultSlots = 256;

/** Sizes of a policy that completes `problems`. */
export function policySizes(
  {
    maxNewTokens,
    numSamples,
    evalSamples,
    samplerUrl,
  }: Pick<Settings, 'maxNewTokens' | 'numSamples' | 'evalSamples' | 'samplerUrl'>,
  prompts: Pick<RolloutKit, 'tokenizer' | 'form'>,
  problems: readonly Problem[],
  training?: Pick<TrainingOptions, 'batchSize'>,
): PolicySizes {
  const ids = problems.map((problem) => promptIds(prompts, problem));
  return {
    promptLengths: ids.map(({ length }) => length),
    sharedPrefix: sharedPrefix(ids),
    maxNewTokens,
    // No more than are ever sampled at once; none where a server samples, but there is always one.
    slots:
      samplerUrl !== undefined
        ? 1
        : Math.max(
            Math.min(defaultSlots, problems.length * Math.max(numSamples, evalSamples, 1)),
            training?.batchSize ?? 0,
          ),
  };
}

/** Tokens that all prompts begin with; each has at least one more. */
function sharedPrefix([first = [], ...others]: readonly (readonly number[])[]): number {
  let length = first.length - 1;
  for (const ids of others) {
    const differs = ids.findIndex((id, i) => id !== first[i]);
    length = Math.min(length, ids.length - 1, differs < 0 ? ids.length : differs);
  }
  return Math.max(0, length);
}
