/** @file The library's public API, and what a `--task` file may import from `tinyzero`. */
export type { Problem, ProblemSet } from './data/problem.js';
export { type CompletionInfo, defineTask, type Score, type Task } from './data/task.js';
export type { EvalSummary } from './eval-summary.js';
export {
  type CallOptions,
  type EngineCall,
  type EstimateCall,
  estimateVStar,
  evaluate,
  generateProblems,
  loadModel,
  report,
  sample,
  score,
  type TrainCall,
  train,
} from './library.js';
export type { LoadedModel, SampleCall, SampledText, ScoreCall, ScoredCompletion, ScoreInput } from './loaded-model.js';
export type { Verdict } from './report/verdict.js';
export type { ReportRequest } from './report/write.js';
export { parseAnswer } from './reward/answer.js';
export { multiplicationReward } from './reward/multiplication.js';
export type { VStarEntry, VStarFile } from './stage1/v-star-file.js';
export { vStar } from './stage1/vstar.js';
export { type ApoRow, apoLoss } from './stage2/loss.js';
export type { TrainEvent, TrainResult } from './train-events.js';
export type { Random } from './util/random.js';
