/**
 * @file A negative control, expected to fail: reinforcement learning on the star graph (star-graph-task.ts). The built-in model is
 * fine-tuned until it follows edges and guesses the first, then trained by `tinyzero train`. The accuracy on held-out graphs must
 * stay where it was. With seed 1: 29.0 % before and 28.1 % after (docs/parity.md).
 *
 *     npm run toy:star                        # 2 to 3 minutes of processor time, most of it fine-tuning
 *     npm run toy:star -- --out runs/star     # the same command resumes a stopped run
 *
 * Fine-tuning has two parts. Walks come first: graphs with a single arm of nine edges, whose path has nine lookups and no guess,
 * so that the model learns to look up edges within 392 updates. On star graphs alone it had not after 1,000. Then star graphs: a
 * model that follows every edge and guesses the first has a loss of ln 3 for the guess, divided by the 8 tokens of an answer:
 * 0.137 nats.
 *
 * Arms have three nodes because with two the first node is found by one lookup backwards from the asked end, as easy as
 * following an edge. The control would be void.
 *
 * Prints the losses, accuracy before and after, what stage 1 said and the verdict of the report. Exit code 1 if the model learned.
 */
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readRunRecord } from '../../src/report/read.js';
import { judge } from '../../src/report/verdict.js';
import { runFiles } from '../../src/run/folder.js';
import { readLoss } from '../../src/run/sft/record.js';
import { keyedRandom, type Random } from '../../src/util/random.js';
import { degree, drawGraph, drawWalk, promptOf, type StarGraph, solutionOf } from './star-graph-task.js';
import { tinyzero } from './tinyzero.js';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    walks: { type: 'string', default: '25600' },
    graphs: { type: 'string', default: '9600' },
    lr: { type: 'string', default: '2e-3' },
    out: { type: 'string' },
  },
});
const folder = values.out ?? mkdtempSync(join(tmpdir(), 'tinyzero-star-graph-'));
mkdirSync(folder, { recursive: true });
const run = join(folder, 'rl');
const often = ['--save-every', '100', '--keep', '1', '--quiet'];
const walker = fineTuned('walks', 'builtin', values.walks, drawWalk);
const tuned = fineTuned('graphs', walker, values.graphs, (random) => drawGraph(random, false));
if (existsSync(join(run, runFiles.config))) tinyzero('train', '--resume', run, '--quiet');
else {
  const task = fileURLToPath(new URL('../../../bench/toys/star-graph-task.ts', import.meta.url));
  const sizes = '--num-train 200 --num-test 50 --epochs 10 --max-new-tokens 12 --eval-samples 16'.split(' ');
  tinyzero('train', '--task', task, '--model', tuned, '--out', run, '--seed', values.seed, ...sizes, ...often);
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

/** Fine-tunes `model` on solved graphs, or goes on where it was stopped. @returns its folder. */
function fineTuned(name: string, model: string, count: string, drawn: (random: Random) => StarGraph): string {
  const tuned = join(folder, name);
  if (existsSync(join(tuned, runFiles.config))) tinyzero('sft', '--resume', tuned, '--quiet');
  else {
    const random = keyedRandom('star graph', name, values.seed);
    const data = join(folder, `${name}.jsonl`);
    const lines = Array.from({ length: Number(count) }, () => {
      const graph = drawn(random);
      return `${JSON.stringify({ prompt: promptOf(graph), completion: solutionOf(graph) })}\n`;
    });
    writeFileSync(data, lines.join(''));
    const options = ['--epochs', '1', '--batch-size', '64', '--held-out', '0.02', '--eval-every', '50', ...often];
    tinyzero(
      'sft',
      '--model',
      model,
      '--data',
      data,
      '--out',
      tuned,
      '--seed',
      values.seed,
      '--lr',
      values.lr,
      ...options,
    );
  }
  const { loss } = readLoss(join(tuned, runFiles.evalAfter));
  console.log(`After ${count} ${name}: ${loss.toFixed(3)} nats per token on held-out ones.`);
  return tuned;
}
