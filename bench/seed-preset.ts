/**
 * @file The original project's minimal run at a real size: `train --preset seed --num-train 2 --num-test 1 --epochs 1` on
 * Qwen2.5-0.5B's config with random weights, in its own process, with its time and peak memory. Since random weights earn no
 * reward, a second run uses a task whose reward depends arbitrarily on the completion, to exercise loss, gradient and update.
 * `npm run bench:seed`; Linux, about 12 GB of memory; the last line is JSON.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { byteLevelTokenizer, qwenHalfBillion, saveRandomModel } from './checkpoints.js';
import { coinTask } from './coin-task.js';
import { runProgram } from './measure.js';

/** Runs the command to its end. */
async function run(args: readonly string[]) {
  const { peakBytes, ...rest } = await runProgram(args);
  return { ...rest, peakGigabytes: peakBytes / 1e9 };
}

const scratch = mkdtempSync(join(tmpdir(), 'tinyzero-seed-'));
try {
  const model = join(scratch, 'model');
  await saveRandomModel(model, qwenHalfBillion, 'bfloat16', byteLevelTokenizer);
  writeFileSync(join(scratch, 'coin.mjs'), coinTask);
  const common = [
    'train',
    '--preset',
    'seed',
    '--num-train',
    '2',
    '--num-test',
    '1',
    '--epochs',
    '1',
    '--model',
    model,
  ];
  await run([...common, '--out', join(scratch, 'plan'), '--dry-run']);
  const multiplication = await run([...common, '--out', join(scratch, 'multiplication'), '--force']);
  const coin = await run([...common, '--out', join(scratch, 'coin'), '--task', join(scratch, 'coin.mjs')]);
  const steps = readFileSync(join(scratch, 'coin', 'metrics.jsonl'), 'utf8');
  console.log(steps.trim());
  console.log(JSON.stringify({ cores: availableParallelism(), processor: cpus()[0]?.model, multiplication, coin }));
  if (multiplication.code !== 0 || coin.code !== 0) process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
