/** @file The metrics recorded for every update. */

/** One line of metrics.jsonl; docs/metrics.md has the formulas. */
export interface StepMetrics {
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly reward: number;
  readonly exactRate: number;
  readonly formatRate: number;
  readonly truncatedRate: number;
  readonly meanTokens: number;
  /** Mean |advantage|; for A*PO, of r - V* - beta2·δ. */
  readonly meanAbsAdvantage: number;
  /** Mean δ = S - S_ref: an estimate of the divergence from the reference per completion, in nats. */
  readonly kl: number;
  /** Mean of -log π(token): an estimate of the entropy per token, in nats. */
  readonly entropy: number;
  /** With a value tracker: means over the rollouts' problems of v before the update, of rho and of D (value-tracker.ts). */
  readonly trackedValue?: number;
  readonly trackedRetention?: number;
  readonly trackedDivergence?: number;
  /** TBRM: mean beta2·V_θ(prompt), in units of reward. */
  readonly promptValue?: number;
  /** Absent if a server trains, which does not report it. */
  readonly gradientNorm?: number;
  readonly learningRate: number;
  /** Largest |sampled - scored log-prob| of a token. */
  readonly samplerDifference: number;
  /** Mean of the same over the update's tokens. */
  readonly samplerMeanDifference: number;
  /** False if all advantages were zero. */
  readonly signal: boolean;
  readonly sampledTokens: number;
  /** Greedy accuracy on held-out problems after this update, when evaluated. For monitoring only. */
  readonly heldOutGreedy?: number;
  /** Greedy accuracy on the validation problems after this update, when evaluated. `--keep best` chooses by it. */
  readonly validationGreedy?: number;
}
