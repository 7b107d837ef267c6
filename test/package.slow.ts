/**
 * The package as published, installed into an empty project from the registry: the command runs, trains, and its types compile
 * under the strictest settings, with the types of everything that they need.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from './helpers/files.js';

/** Most of it is tfjs, whose packages carry their sources and tests. */
const maxInstalledMegabytes = 350;

function diskBytes(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

function run(folder: string, command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: 'utf8' });
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

const program = `
import { defineTask, loadModel, parseAnswer, sample, train, vStar } from 'tinyzero';
import type { EvalSummary, Task, TrainEvent, TrainResult } from 'tinyzero';

interface Sum {
  readonly x: number;
  readonly y: number;
}
export const task: Task<Sum> = defineTask<Sum>({
  name: 'sums',
  problems: (random, n) => Array.from({ length: n }, () => ({ x: random.int(1, 9), y: random.int(1, 9) })),
  prompt: ({ x, y }) => \`What is \${x} + \${y}?\\n\`,
  reward: (completion, { x, y }) => Number(parseAnswer(completion).value === x + y),
});
const tell = (event: TrainEvent): void => {
  if (event.kind === 'step') console.log(event.metrics.reward.toFixed(3), event.updates);
  if (event.kind === 'opened') console.log(event.engine, event.problems.train.length);
};
export async function learn(): Promise<EvalSummary> {
  const result: TrainResult = await train({ folder: 'runs/a', numTrain: 8 }, tell);
  const model = await loadModel('builtin', { engine: 'wasm' });
  const [first] = await sample(model, ['What is 7 × 8?\\n']);
  model.close();
  console.log(first?.[0]?.text, vStar([0, 1], 0.5));
  return result.after;
}
// @ts-expect-error: options are typed
void train({ folder: 'runs/a', numTrain: 'eight' });
`;

test('npm pack, installed into an empty project: the command, a run, and the types', (t) => {
  const folder = temporaryFolder(t);
  const root = process.cwd();
  run(root, 'npm', 'run', '--silent', 'pack', '--', folder);
  const [tarball] = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  run(root, 'npx', 'publint', '--strict', join(folder, tarball!));
  // A package of ES modules: `require` is not among what it promises.
  run(root, 'npx', 'attw', join(folder, tarball!), '--profile', 'esm-only');

  writeFileSync(join(folder, 'package.json'), '{ "name": "empty", "private": true, "type": "module" }');
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const tools = ['typescript', '@types/node'].map((name) => `${name}@${devDependencies[name]}`);
  // As anybody types it: install scripts may run, and nothing of ours needs one.
  run(folder, 'npm', 'install', '--no-audit', '--no-fund', `./${tarball}`);
  const megabytes = diskBytes(join(folder, 'node_modules')) / 1e6;
  assert.ok(megabytes < maxInstalledMegabytes, `${megabytes} MB in node_modules`);
  for (const optional of ['@huggingface/transformers', '@tensorflow/tfjs-node-gpu', 'onnxruntime-node']) {
    assert.ok(!existsSync(join(folder, 'node_modules', optional)), optional);
  }
  run(folder, 'npm', 'install', '--no-audit', '--no-fund', ...tools);

  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  assert.equal(run(folder, 'npx', 'tinyzero', '--version'), `${version}\n`);
  const installed = join(folder, 'node_modules', 'tinyzero');
  const links = [...readFileSync(join(installed, 'README.md'), 'utf8').matchAll(/\]\(([^)#]*)/g)].map(
    ([, link]) => link!,
  );
  for (const link of links) {
    assert.match(link, /^https:/);
    const [published, path] = link.split(`https://unpkg.com/tinyzero@${version}/`);
    if (published === '') assert.ok(existsSync(join(installed, path!)), link);
  }
  const sizes = ['--num-train', '8', '--num-test', '2', '--epochs', '1', '--batch-size', '8', '--num-samples', '2'];
  const engine = ['--engine', 'wasm', '--no-install'];
  const trained = run(folder, 'npx', 'tinyzero', 'train', ...sizes, '--eval-samples', '0', '--json', ...engine);
  assert.equal(JSON.parse(trained).updates, 1);
  const addition = join('node_modules', 'tinyzero', 'examples', 'addition.ts');
  const evaluated = run(
    folder,
    'npx',
    'tinyzero',
    'eval',
    '--task',
    addition,
    '--num-test',
    '2',
    '--samples',
    '1',
    '--json',
    ...engine,
  );
  assert.equal(JSON.parse(evaluated).task, 'addition');

  const files = readdirSync(join(folder, 'node_modules', 'tinyzero', 'dist'), { recursive: true, encoding: 'utf8' });
  for (const name of files.filter((file) => file.endsWith('.js'))) {
    const text = readFileSync(join(folder, 'node_modules', 'tinyzero', 'dist', name), 'utf8');
    assert.doesNotMatch(text, /^\/\/# sourceMappingURL/m, name);
  }

  writeFileSync(join(folder, 'use.ts'), program);
  const compilerOptions = {
    target: 'ES2023',
    lib: ['ES2023'],
    module: 'NodeNext',
    moduleResolution: 'NodeNext',
    types: ['node'],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true,
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['use.ts'] }));
  run(folder, 'npx', 'tsc', '-p', '.');
});
