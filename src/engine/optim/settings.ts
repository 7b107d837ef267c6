/** @file Settings of training: AdamW's and the learning-rate schedule. Separate from adamw.ts, which needs tensor types. */

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled weight decay: fraction of a parameter subtracted per step, per unit of learning rate. */
  readonly weightDecay: number;
  /** Which parameters decay. Default: all. */
  readonly decays?: (name: string) => boolean;
}

/** A linear warm-up, then a constant rate or a cosine down to a floor. */
export interface Schedule {
  readonly peak: number;
  /** Steps of linear warm-up; step 1 gets 1 / warmupSteps of the peak. */
  readonly warmupSteps: number;
  /** Cosine decay: the step at which the floor is reached (Loshchilov and Hutter, arXiv 1608.03983, one cycle). */
  readonly cosine?: { readonly steps: number; readonly floor: number };
}

/** The learning rate of update `step`, the first being 1. `floor` is a fraction of the peak. */
export function learningRateAt({ peak, warmupSteps, cosine }: Schedule, step: number): number {
  if (step < warmupSteps) return (peak * step) / warmupSteps;
  if (cosine === undefined) return peak;
  const done = Math.min(1, (step - warmupSteps) / Math.max(1, cosine.steps - warmupSteps));
  return peak * (cosine.floor + ((1 - cosine.floor) * (1 + Math.cos(Math.PI * done))) / 2);
}
