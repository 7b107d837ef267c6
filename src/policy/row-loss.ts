/** @file The loss of a row, as a function of numbers or tensors. Loads no tensor library, and needs none of its types. */

/** The operations that losses use, for numbers or tensors. tfjs itself implements them for tensors. */
export interface Arithmetic<X> {
  sub(a: X, b: X): X;
  mul(a: X | number, b: X): X;
  square(x: X): X;
  neg(x: X): X;
}

/** One row, or the rows of a batch as vectors. */
export interface LossRow<X> {
  /** δ = S - S_ref: log-prob of the completion under the policy minus that under the reference. */
  readonly delta: X;
  /** Advantage A. */
  readonly advantage: X;
}

/** The loss of each row, differentiable in δ. The loss of a batch is the mean over its rows. */
export type RowLoss = <X>(arithmetic: Arithmetic<X>, row: LossRow<X>) => X;

/** Loss of some rows. */
export interface TokenLoss {
  /** Mean of -log p over all completion tokens, in nats. */
  readonly loss: number;
  readonly tokens: number;
}
