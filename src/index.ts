/**
 * @file The library's public API, and what a `--task` file may import from `tinyzero`. Numbers only load no tensor
 * library; `train`, `evaluateModel` and `estimateVStar` load it when they are called.
 */
export { type CompletionInfo, defineTask, type Score, type Task } from './data/task.js';
export { parseAnswer } from './reward/answer.js';
export { multiplicationReward } from './reward/multiplication.js';
export { vStar } from './stage1/vstar.js';
export { type ApoRow, apoLoss } from './stage2/loss.js';
export type { TrainEvent, TrainResult } from './train.js';
export { type Random } from './util/random.js';
