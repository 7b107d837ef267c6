/**
 * @file What a run is asked for, what it tells while it goes, and what it comes to.
 */

import type { ProblemSet } from '../data/problem.js';
import type { TaskApi } from '../data/task-file.js';
import type { EngineSetting } from '../engine/choices.js';
import type { TrainingOptions } from '../options/settings.js';
import type { Comparison } from '../policy/eval-compare.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import type { Preflight } from '../stage1/preflight.js';
import type { StepMetrics } from '../stage2/step-metrics.js';

export interface TrainRequest {
  /** Of a new run; a resumed one has its own. */
  readonly options: TrainingOptions;
  /** The folder of a new run, or the one to continue. */
  readonly folder: string;
  readonly resume: boolean;
  readonly engine: EngineSetting;
  readonly install: boolean;
  readonly taskApi: TaskApi;
}

/** What happens, as it happens. */
export type TrainEvent =
  /** `engine`: what computes, in words. */
  | { readonly kind: 'opened'; readonly model: string; readonly engine: string; readonly problems: ProblemSet }
  | {
      readonly kind: 'evaluated';
      readonly when: 'before' | 'after';
      readonly summary: EvalSummary;
      /** What it took; absent where a resumed run no longer knows. */
      readonly seconds?: number;
    }
  | { readonly kind: 'preflight'; readonly preflight: Preflight }
  /** `history`: of the updates that were made before. */
  | { readonly kind: 'resumed'; readonly step: number; readonly history: readonly StepMetrics[] }
  | { readonly kind: 'stage2'; readonly updates: number }
  | {
      readonly kind: 'step';
      readonly metrics: StepMetrics;
      /** Updates of the whole run. */
      readonly updates: number;
      /** What this one took. */
      readonly seconds: number;
    };

export interface TrainResult {
  readonly folder: string;
  readonly updates: number;
  /** `seed`: the problems of the evaluations may have been trained on. */
  readonly overlap: 'none' | 'seed';
  readonly before: EvalSummary;
  readonly after: EvalSummary;
  readonly compare: Comparison;
  /** Absent for algorithms without stage 1. */
  readonly preflight?: Preflight;
}
