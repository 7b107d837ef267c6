/**
 * @file Evaluation: completes each problem once greedily and k times by sampling. The random numbers are fixed, so two
 * models (or one, before and after training) are compared on the same draws. eval-summary.ts summarises the results.
 */
import type { Problem } from '../data/problem.js';
import { textStream } from '../model/checkpoint/tokenizer.js';
import { type Reporter, silentReporter } from '../util/reporter.js';
import { type DrawnTokens, type EvalSummary, type Outcome, summarizeEvaluation } from './eval-summary.js';
import { type GradedRollout, type RolloutKit, rollOut, rollOutGreedy } from './rollout.js';
import { samplingEffort } from './sampling-effort.js';

export interface EvaluateOptions {
  /** Name of the model in the summary. */
  readonly model: string;
  /** Samples of each problem, 0 or more. */
  readonly samples: number;
  readonly signal?: AbortSignal;
  /** Receives progress. */
  readonly reporter?: Reporter;
}

/** @throws the signal's reason when it is aborted. */
export async function evaluate<P>(
  kit: RolloutKit<P>,
  problems: readonly Problem<P>[],
  { model, samples, signal, reporter = silentReporter }: EvaluateOptions,
): Promise<EvalSummary> {
  const requests = problems.flatMap((problem) =>
    Array.from({ length: samples }, (_, sample) => ({ problem, stage: 'eval', sample })),
  );
  const work = reporter.work('Evaluating', 'completions');
  const effort = samplingEffort(work, [problems.length, requests.length], kit.maxNewTokens);
  let greedy: GradedRollout<P>[];
  let sampled: GradedRollout<P>[];
  try {
    greedy = await rollOutGreedy(kit, problems, { signal, ...effort.watch(false) });
    // Greedy lengths do not predict sampled ones: a model that guesses greedily may reason in steps when it samples.
    sampled = await rollOut(kit, requests, { signal, ...effort.watch(false) });
  } finally {
    work.end();
  }
  const outcomes = problems.map((problem, i) => ({
    problem,
    greedy: outcome(greedy[i]!),
    samples: sampled.slice(i * samples, (i + 1) * samples).map((rollout, sample) => ({
      ...outcome(rollout),
      // Tokens are kept for one sample only, as an example; for all of them they would dominate the file.
      ...(sample === 0 && { drawn: drawnTokens(kit.tokenizer, rollout) }),
    })),
  }));
  return summarizeEvaluation(outcomes, { model, task: kit.task, temperature: kit.temperature });
}

/** Greedy exact match alone, for monitoring during training. */
export async function greedyAccuracy<P>(
  kit: RolloutKit<P>,
  problems: readonly Problem<P>[],
  signal?: AbortSignal,
): Promise<number> {
  const rollouts = await rollOutGreedy(kit, problems, { signal });
  return rollouts.filter(({ score }) => score.exact).length / problems.length;
}

function drawnTokens(tokenizer: RolloutKit['tokenizer'], { completionIds, logProbs }: GradedRollout): DrawnTokens {
  const stream = textStream(tokenizer);
  const pieces = completionIds.map((id) => stream.push(id));
  pieces[pieces.length - 1] += stream.end();
  return { pieces, logProbs: logProbs.map((logProb) => Math.round(logProb * 1e4) / 1e4 + 0) };
}

function outcome({ text, score, finished, completionIds }: GradedRollout): Outcome {
  return { text, score, finished, tokens: completionIds.length };
}
