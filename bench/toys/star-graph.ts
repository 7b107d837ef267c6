/**
 * @file A negative control, expected to fail: reinforcement learning on the star graph (star-graph-task.ts). The built-in model is
 * fine-tuned on solved graphs until it follows edges and guesses the first, then trained by `tinyzero train`. Stage 1 must warn that it
 * may be guessing, and the accuracy must stay where it was.
 *
 *     npm run toy:star      # about 20 minutes on 2 quiet cores, not measured; most of it fine-tuning
 *
 * Prints accuracy before and after, what stage 1 said and the verdict of the report. Exit code 1 if the model learned.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readRunRecord } from '../../src/report/read.js';
import { judge } from '../../src/report/verdict.js';
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
const data = join(folder, 'graphs.jsonl');
const random = keyedRandom('star graph', values.seed);
const lines = Array.from({ length: Number(values.graphs) }, () => {
  const graph = drawGraph(random, false);
  return `${JSON.stringify({ prompt: promptOf(graph), completion: solutionOf(graph) })}\n`;
});
writeFileSync(data, lines.join(''));
const tuned = join(folder, 'sft');
const run = join(folder, 'rl');
const seed = ['--seed', values.seed];
const often = ['--epochs', '1', '--batch-size', '64', '--held-out', '0.005', '--save-every', '0'];
tinyzero('sft', '--data', data, '--out', tuned, ...seed, '--lr', values.lr, ...often, '--quiet');
const task = fileURLToPath(new URL('../../../bench/toys/star-graph-task.ts', import.meta.url));
const rl = ['--model', tuned, '--num-train', '200', '--num-test', '50', '--epochs', '10', '--max-new-tokens', '12'];
tinyzero('train', '--task', task, ...rl, '--out', run, ...seed, '--save-every', '0', '--quiet');
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
