/**
 * @file A published toy result, reproduced: after training on a mixture of few long and many short answers, reinforcement learning
 * finds the long ones, and answers grow ("How Reinforcement Learning After Next-Token Prediction Facilitates Learning", 2025, arXiv
 * 2510.11495; there with parity). Here long answers are worked multiplications, and short ones guesses.
 *
 *     npm run toy:lengths                     # seven mixtures, about 6 minutes on 2 quiet cores
 *     npm run toy:lengths -- --shares 0.1,0.5 --seed 2
 *
 * Both kinds are the built-in model's own samples, so that only their shares are chosen: the model is fine-tuned on each mixture with
 * `tinyzero sft`, then trained with `tinyzero train`. Prints the table of docs/parity.md, and the length at every fifth update.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readEvaluation } from '../../src/policy/eval-compare.js';
import { readLog } from '../../src/run/logs.js';
import { keyedRandom } from '../../src/util/random.js';
import { naturalJob } from '../jobs.js';
import { tinyzero } from './tinyzero.js';

const { values } = parseArgs({
  options: {
    shares: { type: 'string', default: '0.01,0.02,0.05,0.1,0.2,0.5,0.9' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string' },
  },
});
const shares = values.shares.split(',').map(Number);
if (shares.some((share) => !(share >= 0 && share <= 1))) throw new Error(`--shares: expected shares from 0 to 1`);
const folder = values.out ?? mkdtempSync(join(tmpdir(), 'tinyzero-lengths-'));
mkdirSync(folder, { recursive: true });

/** Samples of each training problem; lines of a mixture. */
const samples = 32;
const lines = 1000;

interface Example {
  readonly prompt: string;
  readonly completion: string;
}

const { long, short } = ownSamples();
console.error(`${long.length} long and ${short.length} short samples of the built-in model`);
const rows: string[][] = [];
const curves: string[] = [];
for (const share of shares) {
  const name = `share-${share}`;
  const data = join(folder, `${name}.jsonl`);
  writeFileSync(
    data,
    mixture(share)
      .map((example) => `${JSON.stringify(example)}\n`)
      .join(''),
  );
  const tuned = join(folder, `${name}-sft`);
  const run = join(folder, `${name}-rl`);
  tinyzero('sft', '--data', data, '--out', tuned, '--seed', values.seed, '--save-every', '0', '--quiet');
  tinyzero(
    'train',
    '--model',
    tuned,
    '--out',
    run,
    '--seed',
    values.seed,
    '--eval-every',
    '0',
    '--save-every',
    '0',
    '--force',
    '--quiet',
  );
  const [before, after] = ['before', 'after'].map((when) => readEvaluation(join(run, `eval-${when}.json`)).sampled!);
  rows.push([
    percent(share),
    ...[before!, after!].flatMap(({ exact, meanTokens }) => [percent(exact.rate), meanTokens.toFixed(1)]),
  ]);
  const lengths = [...readLog(join(run, 'metrics.jsonl'))].map(({ meanTokens }) => Number(meanTokens).toFixed(1));
  curves.push(`${percent(share)}: ${lengths.filter((_, i) => i % 5 === 0 || i === lengths.length - 1).join(' ')}`);
  console.error(rows.at(-1)!.join('  '));
}
console.log(
  [
    '| long answers in the data | accuracy before | tokens before | accuracy after | tokens after |',
    '| --- | --- | --- | --- | --- |',
    ...rows.map((row) => `| ${row.join(' | ')} |`),
    '',
    'Mean tokens of the rollouts at every fifth update:',
    ...curves,
  ].join('\n'),
);

/** The built-in model's answers to its training problems, worked ones and guesses. */
function ownSamples(): { long: Example[]; short: Example[] } {
  const input = join(folder, 'prompts.jsonl');
  const prompts = naturalJob('').train.map(([a, b]) => `What is ${a} × ${b}?\n`);
  writeFileSync(input, prompts.map((prompt) => `${JSON.stringify({ prompt })}\n`).join(''));
  const options = ['--samples', `${samples}`, '--temperature', '1', '--max-new-tokens', '48', '--seed', values.seed];
  const printed = tinyzero('generate', '--input', input, ...options, '--json', '--quiet');
  const found = printed
    .trim()
    .split('\n')
    .flatMap((line) => {
      const { prompt, completions } = JSON.parse(line) as {
        prompt: string;
        completions: { text: string; finishReason: string }[];
      };
      const ended = completions.filter(({ finishReason }) => finishReason === 'stop');
      return ended.map(({ text }) => ({ prompt, completion: text }));
    });
  const isLong = ({ completion }: Example) => completion.startsWith('think:');
  return { long: found.filter(isLong), short: found.filter((example) => !isLong(example)) };
}

/** So many lines, drawn from both kinds. */
function mixture(share: number): Example[] {
  const random = keyedRandom('lengths', values.seed, share);
  const count = Math.round(share * lines);
  return random.shuffle([
    ...Array.from({ length: count }, () => random.pick(long)),
    ...Array.from({ length: lines - count }, () => random.pick(short)),
  ]);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}
