/**
 * @file Compares a server's model with the local weights: the server samples a few short completions and reports their log-probs,
 * which are also computed here.
 */
import type { Engine } from '../../engine/backend.js';
import { UserError } from '../../util/errors.js';
import { memoryLimit } from '../../util/machine.js';
import { mean } from '../../util/statistics.js';
import type { Pretrained } from '../checkpoint/pretrained.js';
import { createModelProgram, parameterState, stateBytes } from '../load.js';
import { planScoring, score, scoreFunctions } from '../score.js';
import type { ServerAnswer } from './sampler.js';
import { requestCompletion, type SamplingServer } from './sampler.js';

/**
 * Largest mean difference of a token's log-prob. Rounding gives 1e-5 in float32, and about 1e-2 if the server computes in
 * bfloat16 or with quantised weights. A different model, or one trained further, differs by tenths or more.
 */
const maxMeanDifference = 0.1;
const trialTokens = 16;
/** A model that needs a larger share of the memory is not loaded for the comparison. */
const memoryShare = 0.5;

/**
 * The mean difference of a token's log-prob, in nats; undefined if the server reports none, or the weights do not fit in local
 * memory.
 *
 * @param prompts a few of the job's prompts, as token ids. @throws UserError when the models differ.
 */
export async function requireSameWeights(
  server: SamplingServer,
  { engine, pretrained }: { readonly engine: Engine; readonly pretrained: Pretrained },
  { prompts, endIds }: { readonly prompts: readonly (readonly number[])[]; readonly endIds: ReadonlySet<number> },
  signal: AbortSignal,
): Promise<number | undefined> {
  const answers: ServerAnswer[] = [];
  for (const [index, promptIds] of prompts.entries()) {
    // All servers define log-probs alike at temperature 1.
    const seed = 2000 + index;
    const draw = { model: server.model, promptIds, maxNewTokens: trialTokens, endIds, temperature: 1, seed };
    answers.push(await requestCompletion(server, draw, signal));
  }
  if (!answers.every(({ ids, logProbs }) => ids !== undefined && ids.length > 0 && logProbs !== undefined))
    return undefined;
  const rows = answers.map(({ ids }, index) => ({ promptIds: prompts[index]!, completionIds: ids! }));
  if (stateBytes(parameterState(pretrained.config)) > memoryShare * memoryLimit()) return undefined;
  const plan = planScoring(pretrained.config, rows);
  const parts = { state: {}, functions: scoreFunctions(pretrained.config, plan.groups, 'f32') };
  const program = await createModelProgram(engine, pretrained, parts, { signal });
  const differences: number[] = [];
  try {
    await score(program, plan, rows, {
      temperature: 1,
      signal,
      onRow: (index, logProbs) => {
        const there = answers[index]!.logProbs!;
        differences.push(...Array.from(logProbs, (logProb, i) => Math.abs(logProb - there[i]!)));
      },
    });
  } finally {
    program.dispose();
  }
  const difference = mean(differences);
  if (difference <= maxMeanDifference) return difference;
  throw new UserError({
    problem: `The server at ${server.connection.url} serves a different model than --model: the log-probs of its completions differ by ${difference.toPrecision(2)} on average.`,
    expected: `at most ${maxMeanDifference}, from rounding`,
    fix: 'Serve the model that --model names (with an adapter: name the adapter with --sampler-model).',
  });
}
