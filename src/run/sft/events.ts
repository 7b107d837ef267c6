/**
 * @file Request, events and result of a run of supervised training. Uses no types of the tensor library.
 */
import type { EngineSetting } from '../../engine/choices.js';
import type { SftOptions } from '../../options/sft-settings.js';
import type { TokenLoss } from '../../policy/row-loss.js';

export interface SftRequest {
  /** Options of a new run; a resumed run keeps its own. */
  readonly options: SftOptions;
  /** The folder of a new run, or of the run to resume. */
  readonly folder: string;
  readonly resume: boolean;
  readonly engine: EngineSetting;
  readonly install: boolean;
}

/** Number of lines on each side of the split. */
interface SftLines {
  readonly train: number;
  readonly heldOut: number;
}

/** Events of a run, in the order in which they happen. */
export type SftEvent =
  | {
      readonly kind: 'opened';
      readonly model: string;
      /** Description of the engine. */
      readonly engine: string;
      readonly lines: SftLines;
      /** Completion tokens of the rows that are trained on. */
      readonly tokens: number;
    }
  /** The held-out loss was measured, or read from its file. */
  | { readonly kind: 'measured'; readonly when: 'before' | 'after'; readonly loss: TokenLoss }
  /** Training continues after update `step`. */
  | { readonly kind: 'resumed'; readonly step: number; readonly history: readonly SftMetrics[] }
  /** Training starts or continues. `updates`: of the whole run. */
  | { readonly kind: 'training'; readonly updates: number }
  | { readonly kind: 'step'; readonly metrics: SftMetrics; readonly updates: number };

export interface SftResult {
  readonly folder: string;
  readonly updates: number;
  readonly lines: SftLines;
  /** Loss on the held-out rows; null if nothing is held out. */
  readonly before: TokenLoss | null;
  readonly after: TokenLoss | null;
}

/** One line of metrics.jsonl. */
export interface SftMetrics {
  readonly step: number;
  /** Completed passes over all rows, from 0. */
  readonly epoch: number;
  /** Mean of -log p over the completion tokens of the update's rows, before the update; in nats. */
  readonly loss: number;
  /** Completion tokens of the update's rows. */
  readonly tokens: number;
  /** Completion tokens of all updates so far. */
  readonly trainedTokens: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
  /** The loss on the held-out rows after this update, if it was measured. For monitoring only. */
  readonly heldOutLoss?: number;
}
