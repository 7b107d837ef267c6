/** @file What a loss is to the training step: a function of each row's log-ratio and advantage, in any arithmetic. */

/** The operations that losses use. tfjs itself has them for tensors. */
export interface Arithmetic<X> {
  sub(a: X, b: X): X;
  mul(a: X | number, b: X): X;
  square(x: X): X;
  neg(x: X): X;
}

/** One row, or the rows of a batch as vectors. */
export interface LossRow<X> {
  /** δ = S - S_ref: log-prob of the completion under the policy less that under the reference. */
  readonly delta: X;
  /** A: what the reward says of the completion. */
  readonly advantage: X;
}

/** The loss of each row; that of a batch is their mean. Differentiable in δ. */
export type RowLoss = <X>(arithmetic: Arithmetic<X>, row: LossRow<X>) => X;
