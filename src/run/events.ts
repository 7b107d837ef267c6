/** @file Requests, events and results of the runs of `train` and `sft`. Uses no types of the tensor library. */
import type { ProblemSet } from '../data/problem.js';
import type { TaskApi } from '../data/task-file.js';
import type { EngineSetting } from '../engine/choices.js';
import type { TrainingOptions } from '../options/settings.js';
import type { SftOptions } from '../options/sft-settings.js';
import type { Comparison } from '../policy/eval-compare.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import type { TokenLoss } from '../policy/row-loss.js';
import type { Preflight } from '../stage1/preflight.js';
import type { StepMetrics } from '../stage2/step-metrics.js';

export interface TrainRequest {
  /** Options of a new run; a resumed run keeps its own. */
  readonly options: TrainingOptions;
  /** The folder of a new run, or of the run to resume. */
  readonly folder: string;
  readonly resume: boolean;
  readonly engine: EngineSetting;
  readonly install: boolean;
  /** Workers that compute as well, each at `host:port`. Results are the same up to rounding. */
  readonly workers?: readonly string[] | undefined;
  readonly taskApi: TaskApi;
}

/** Events of a run, in order. docs/library.md describes them. */
export type TrainEvent =
  /** The model and the problems are ready. `engine`: description of the engine. */
  | { readonly kind: 'opened'; readonly model: string; readonly engine: string; readonly problems: ProblemSet }
  /** An evaluation on the held-out problems is done, or read from its file. */
  | {
      readonly kind: 'evaluated';
      readonly when: 'before' | 'after';
      readonly summary: EvalSummary;
      /** Absent when a resumed run does not know it. */
      readonly seconds?: number;
    }
  /** Stage 1 is done. `secondsLeft`: estimated for the rest of the run; absent if it computes elsewhere. */
  | { readonly kind: 'preflight'; readonly preflight: Preflight; readonly secondsLeft?: number }
  /** Training continues after update `step`. `history`: the metrics of all updates so far. */
  | { readonly kind: 'resumed'; readonly step: number; readonly history: readonly StepMetrics[] }
  /** Training begins or continues. `updates`: of the whole run. */
  | { readonly kind: 'stage2'; readonly updates: number }
  /** An update is done. */
  | {
      readonly kind: 'step';
      readonly metrics: StepMetrics;
      /** Updates of the whole run. */
      readonly updates: number;
      /** Of this update. */
      readonly seconds: number;
    };

export interface TrainResult {
  readonly folder: string;
  readonly updates: number;
  /** `seed`: training may have used problems of the evaluations. */
  readonly overlap: 'none' | 'seed';
  readonly before: EvalSummary;
  readonly after: EvalSummary;
  readonly compare: Comparison;
  /** Training ended after `updates` because its reward no longer rose (`--stop-when-flat`). */
  readonly stopped?: 'flat';
  /** The model is that of this update, chosen by the validation problems (`--keep best`). */
  readonly best?: { readonly step: number; readonly accuracy: number };
  /** Absent for algorithms without stage 1. */
  readonly preflight?: Preflight;
}

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
