/** @file Options of AdamW. Separate from adamw.ts, so that settings and library users need no tensor types. */

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled weight decay: fraction of a parameter subtracted per step and unit of learning rate. */
  readonly weightDecay: number;
  /** Which parameters decay. Default: all. */
  readonly decays?: (name: string) => boolean;
}
