/**
 * @file A negative control, expected to fail: reinforcement learning on the star graph (star-graph-task.ts). The built-in model is
 * fine-tuned on solved graphs until it follows edges and guesses the first, then trained by `tinyzero train`. Stage 1 must warn that it
 * may be guessing, and the accuracy must stay where it was.
 *
 *     npm run toy:star                        # 10 to 30 minutes, most of it fine-tuning; not yet seen to its end
 *     npm run toy:star -- --out runs/star     # the same command resumes a stopped run
 *
 * Prints accuracy before and after, what stage 1 said and the verdict of the report. Exit code 1 if the model learned.
 */
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readRunRecord } from '../../src/report/read.js';
import { judge } from '../../src/report/verdict.js';
import { runFiles } from '../../src/run/folder.js';
import { keyedRandom } from '../../src/util/random.js';
import { degree, drawGraph, promptOf, solutionOf } from './star-graph-task.js';
import { tinyzero } from './tinyzero.js';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    graphs: { type: 'string', default: '400000' },
    lr: { type: 'string', default: '2e-3' },
    out: { type: 'string' },
  },
});
const folder = values.out ?? mkdtempSync(join(tmpdir(), 'tinyzero-star-graph-'));
mkdirSync(folder, { recursive: true });
const tuned = join(folder, 'sft');
const run = join(folder, 'rl');
const often = ['--save-every', '200', '--keep', '1', '--quiet'];
if (existsSync(join(tuned, runFiles.config))) tinyzero('sft', '--resume', tuned, '--quiet');
else {
  const data = join(folder, 'graphs.jsonl');
  writeFileSync(data, solvedGraphs().join(''));
  const options = ['--epochs', '1', '--batch-size', '64', '--held-out', '0.005', '--eval-every', '500', ...often];
  tinyzero('sft', '--data', data, '--out', tuned, '--seed', values.seed, '--lr', values.lr, ...options);
}
if (existsSync(join(run, runFiles.config))) tinyzero('train', '--resume', run, '--quiet');
else {
  const task = fileURLToPath(new URL('../../../bench/toys/star-graph-task.ts', import.meta.url));
  const options = ['--num-train', '200', '--num-test', '50', '--epochs', '10', '--max-new-tokens', '12', ...often];
  tinyzero('train', '--task', task, '--model', tuned, '--out', run, '--seed', values.seed, ...options);
}
const record = readRunRecord(run);
const { kind, sentence } = judge(record);
const rate = (summary: typeof record.before) => `${(100 * summary!.sampled!.exact.rate).toFixed(1)} %`;
console.log(`Sampled accuracy ${rate(record.before)} before, ${rate(record.after)} after; 1 / ${degree} by guessing.`);
console.log(`Stage 1: ${record.stage1?.preflight?.advice.join(' ') || 'no advice'}`);
console.log(`Verdict: ${sentence}`);
if (kind === 'learned') {
  console.error('The model learned, which policy gradients are known not to do here.');
  process.exitCode = 1;
}

function solvedGraphs(): string[] {
  const random = keyedRandom('star graph', values.seed);
  return Array.from({ length: Number(values.graphs) }, () => {
    const graph = drawGraph(random, false);
    return `${JSON.stringify({ prompt: promptOf(graph), completion: solutionOf(graph) })}\n`;
  });
}
