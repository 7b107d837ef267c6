/**
 * @file Request, events and result of a training run.
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
  /** Stage 1 is done. */
  | { readonly kind: 'preflight'; readonly preflight: Preflight }
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
