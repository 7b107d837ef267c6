/**
 * @file Evaluation: each problem once greedily and k times sampled. The samples are those of fixed random numbers, so two
 * models (or one, before and after) are compared on the same draws. What it all says is eval-summary.ts's business.
 */
import type { Problem } from '../data/problem.js';
import { type Tokenizer, textStream } from '../model/checkpoint/tokenizer.js';
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
  /** Is told how far the work is. */
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
    // Other draws, other lengths: a model that guesses greedily may work in steps when it samples.
    sampled = await rollOut(kit, requests, { signal, ...effort.watch(false) });
  } finally {
    work.end();
  }
  const outcomes = problems.map((problem, i) => ({
    problem,
    greedy: outcome(greedy[i]!),
    samples: sampled.slice(i * samples, (i + 1) * samples).map((rollout, sample) => ({
      ...outcome(rollout),
      // Of one sample the tokens are kept, to be looked at; of all they would outweigh the rest of the file.
      ...(sample === 0 && { drawn: drawnTokens(kit.tokenizer, rollout) }),
    })),
  }));
  return summarizeEvaluation(outcomes, { model, task: kit.task, temperature: kit.temperature });
}

/** Greedy exact match alone, for a look while training runs. */
export async function greedyAccuracy<P>(
  kit: RolloutKit<P>,
  problems: readonly Problem<P>[],
  signal?: AbortSignal,
): Promise<number> {
  const rollouts = await rollOutGreedy(kit, problems, { signal });
  return rollouts.filter(({ score }) => score.exact).length / problems.length;
}

function drawnTokens(tokenizer: Tokenizer, { completionIds, logProbs }: GradedRollout): DrawnTokens {
  const stream = textStream(tokenizer);
  const pieces = completionIds.map((id) => stream.push(id));
  pieces[pieces.length - 1] += stream.end();
  return { pieces, logProbs: logProbs.map((logProb) => Math.round(logProb * 1e4) / 1e4 + 0) };
}

function outcome({ text, score, finished, completionIds }: GradedRollout): Outcome {
  return { text, score, finished, tokens: completionIds.length };
}
