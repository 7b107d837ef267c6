/** @file Options of AdamW; not in adamw.ts, so that settings and users of the library need no tensor types. */

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Fraction of a parameter lost per step and unit of learning rate. */
  readonly weightDecay: number;
  /** Which parameters decay; by default all. */
  readonly decays?: (name: string) => boolean;
}
