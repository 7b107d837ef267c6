/** @file The library's public API, and what a `--task` file may import from `tinyzero`. */
export { type CompletionInfo, defineTask, type Score, type Task } from './data/task.js';
export type { EvalSummary } from './eval-summary.js';
export { type CallOptions, evaluate, type TrainCall, train } from './library.js';
export { parseAnswer } from './reward/answer.js';
export { multiplicationReward } from './reward/multiplication.js';
export { vStar } from './stage1/vstar.js';
export { type ApoRow, apoLoss } from './stage2/loss.js';
export type { TrainEvent, TrainResult } from './train.js';
export type { Random } from './util/random.js';
