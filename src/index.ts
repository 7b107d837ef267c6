/** @file The library's public API, and what a `--task` file may import from `tinyzero`. */
export { type CompletionInfo, defineTask, type Score, type Task } from './data/task.js';
export { parseAnswer } from './reward/answer.js';
export { multiplicationReward } from './reward/multiplication.js';
export { vStar } from './stage1/vstar.js';
export { apoLoss } from './stage2/loss.js';
export type { Random } from './util/random.js';
