/** @file What AdamW is told; apart from adamw.ts so that settings, and programs that use the library, need no tensor types. */

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Fraction of a parameter lost per step and unit of learning rate. */
  readonly weightDecay: number;
  /** Which parameters decay; by default all. */
  readonly decays?: (name: string) => boolean;
}
