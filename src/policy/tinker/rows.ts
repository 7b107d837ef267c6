/**
 * @file Converts the rows of an update to the Tinker API's form. A row of P prompt and C completion tokens becomes a sequence of
 * L = P + C - 1 inputs and targets, whose last C targets are the completion.
 */
import type { CompletionRow } from '../../model/network/log-probs.js';
import type { Arithmetic, RowLoss } from '../row-loss.js';
import type { TinkerDatum } from './client.js';

/** A sequence of tokens; every token except the first is a target. */
export function sequenceDatum(ids: readonly number[], inputs: TinkerDatum['inputs']): TinkerDatum {
  return { tokens: ids.slice(0, -1), targets: ids.slice(1), inputs };
}

const tokensOfRow = ({ promptIds, completionIds }: CompletionRow): number[] => [
  ...Array.from(promptIds),
  ...Array.from(completionIds),
];

/** Pads values `[C]` of a completion's tokens to values `[L]` of the row's targets, with 0 for the prompt. */
function padded({ promptIds }: CompletionRow, values: readonly number[]): number[] {
  return [...new Array<number>(promptIds.length - 1).fill(0), ...values];
}

/** A datum for a pass that only computes log-probs. */
export function scoringDatum(row: CompletionRow): TinkerDatum {
  const ones = new Array<number>(row.completionIds.length).fill(1);
  return sequenceDatum(tokensOfRow(row), { weights: padded(row, ones) });
}

/**
 * A datum for the loss `importance_sampling`, -sum(exp(log π - logProbs) · advantage). If `logProbs` are those of the current model,
 * its gradient is -advantage times that of the completion's log-prob.
 */
export function trainingDatum(row: CompletionRow, logProbs: ArrayLike<number>, advantage: number): TinkerDatum {
  const advantages = new Array<number>(row.completionIds.length).fill(advantage);
  return sequenceDatum(tokensOfRow(row), {
    logprobs: padded(row, Array.from(logProbs)),
    advantages: padded(row, advantages),
  });
}

/** A number and its derivative in δ. */
interface Dual {
  readonly value: number;
  readonly slope: number;
}

/** Forward-mode differentiation: evaluates a loss together with its derivative in δ. */
const duals: Arithmetic<Dual> = {
  sub: (a, b) => ({ value: a.value - b.value, slope: a.slope - b.slope }),
  mul(a, b) {
    const { value, slope } = typeof a === 'number' ? { value: a, slope: 0 } : a;
    return { value: value * b.value, slope: slope * b.value + value * b.slope };
  },
  square: (x) => ({ value: x.value ** 2, slope: 2 * x.value * x.slope }),
  neg: (x) => ({ value: -x.value, slope: -x.slope }),
};

/** A row's loss and its derivative in δ; for A*PO the derivative is -2·beta2·(r - V* - beta2·δ). */
export function lossAndSlope(loss: RowLoss, delta: number, advantage: number): { value: number; slope: number } {
  return loss(duals, { delta: { value: delta, slope: 1 }, advantage: { value: advantage, slope: 0 } });
}
