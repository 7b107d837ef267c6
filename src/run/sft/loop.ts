/**
 * @file The updates of `sft`: which rows each one learns from, a function of the seed, and what is recorded, measured and saved
 * after it. The caller handles files, timing and options.
 */
import type { Schedule } from '../../engine/optim/settings.js';
import type { TokenRow } from '../../model/prompt-input.js';
import type { Learner } from '../../policy/learner.js';
import { runSupervised } from '../../pretrain/loop.js';
import { explainNumerics } from '../../stage2/checks.js';
import { keyedRandom } from '../../util/random.js';
import type { SftMetrics } from '../events.js';

interface SftProgress {
  /** Number of updates. */
  readonly step: number;
  /** Completion tokens trained on so far. */
  readonly trainedTokens: number;
}

/** Indices of the update's rows. */
export interface SftBatch {
  readonly epoch: number;
  readonly rows: readonly number[];
}

/** Batches of `epochs` passes over the rows, in a new order each time. Only the last batch of an epoch may be smaller. */
export function planSft(
  rows: number,
  { epochs, batchSize, seed }: { readonly epochs: number; readonly batchSize: number; readonly seed: number },
): SftBatch[] {
  const indices = Array.from({ length: rows }, (_, index) => index);
  return Array.from({ length: epochs }, (_, epoch) => {
    const order = keyedRandom(seed, 'sft order', epoch).shuffle(indices);
    return Array.from({ length: Math.ceil(rows / batchSize) }, (_, i) => ({
      epoch,
      rows: order.slice(i * batchSize, (i + 1) * batchSize),
    }));
  }).flat();
}

export interface SftLoopOptions {
  readonly learner: Learner;
  readonly rows: readonly TokenRow[];
  readonly plan: readonly SftBatch[];
  readonly schedule: Schedule;
  readonly start: SftProgress;
  /** The held-out loss; undefined if it is not measured after this update. */
  readonly measureHeldOut: (step: number) => Promise<number> | undefined;
  readonly onStep: (metrics: SftMetrics) => void;
  readonly saveDue: (step: number) => boolean;
  readonly save: (progress: SftProgress) => Promise<void>;
  /** When aborted, the loop finishes and saves the current update, then throws the reason. */
  readonly signal: AbortSignal;
}

/** Runs the plan from `start` to its end. */
export async function runSft({ learner, rows, plan, start, ...options }: SftLoopOptions): Promise<void> {
  let progress = start;
  await runSupervised({
    start: start.step,
    steps: plan.length,
    schedule: options.schedule,
    signal: options.signal,
    update: ({ step, learningRate }) =>
      explainNumerics(step, () =>
        learner.update({ rows: plan[step - 1]!.rows.map((row) => rows[row]!), step, learningRate }),
      ),
    async onStep({ step, learningRate, loss, tokens, gradientNorm }) {
      progress = { step, trainedTokens: progress.trainedTokens + tokens };
      const heldOutLoss = await options.measureHeldOut(step);
      const { epoch } = plan[step - 1]!;
      const { trainedTokens } = progress;
      options.onStep({
        step,
        epoch,
        loss,
        tokens,
        trainedTokens,
        gradientNorm,
        learningRate,
        ...(heldOutLoss !== undefined && { heldOutLoss }),
      });
    },
    async save(step, last) {
      if (last || options.saveDue(step)) await options.save(progress);
    },
  });
}
