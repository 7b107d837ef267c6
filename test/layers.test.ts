/**
 * @file Who may import whom. Imports go from a later row to an earlier one, within a folder, and nowhere else.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { test } from 'node:test';

/** Each part of src/ with the parts it may import besides itself. */
const ground = ['errors.ts', 'util'];
const blocks = [...ground, 'engine', 'model', 'optim'];
const rollouts = [...blocks, 'data', 'reward', 'run'];
const tasks = ['task-file.ts', 'problems-file.ts', 'multiplication-task.ts', 'eval-summary.ts', 'eval-compare.ts'];
const sampling = ['policy.ts', 'rollout.ts', 'sampling-effort.ts', 'evaluate.ts'];
const stages = [...rollouts, ...tasks, ...sampling, 'open-model.ts', 'prompt-input.ts'];
const jobs = [
  ...stages,
  'stage1',
  'stage2',
  'pretrain',
  'doctor',
  'config.ts',
  'option-values.ts',
  'settings.ts',
  'defaults.ts',
];
const wholes = [
  'run-config.ts',
  'report',
  'tensorboard.ts',
  'train-events.ts',
  'train.ts',
  'run-report.ts',
  'make-builtin.ts',
  'model-card.ts',
];
const screens = ['play', 'run-list.ts', 'run-teller.ts'];
const singles = ['job.ts', 'estimate-vstar.ts', 'loaded-model.ts', 'memory-plan.ts', 'dry-run.ts'];
const joined = [...jobs, ...singles, ...wholes, ...screens];
const allowed: Readonly<Record<string, readonly string[]>> = {
  'errors.ts': [],
  util: ground,
  data: ground,
  run: ground,
  engine: ground,
  reward: [...ground, 'data'],
  model: [...ground, 'engine'],
  optim: [...ground, 'engine'],
  'task-file.ts': [...ground, 'data', 'reward'],
  'problems-file.ts': [...ground, 'data', 'reward', 'run'],
  'multiplication-task.ts': [...ground, 'data', 'reward'],
  'eval-summary.ts': [...ground, 'data'],
  'eval-compare.ts': [...ground, 'eval-summary.ts'],
  'policy.ts': blocks,
  'rollout.ts': [...rollouts, 'policy.ts'],
  'sampling-effort.ts': blocks,
  'evaluate.ts': [...rollouts, ...tasks, 'rollout.ts', 'sampling-effort.ts'],
  'open-model.ts': rollouts,
  'prompt-input.ts': rollouts,
  stage1: stages,
  stage2: stages,
  pretrain: stages,
  doctor: stages,
  'config.ts': [],
  'option-values.ts': ['config.ts'],
  'settings.ts': [...ground, 'data', 'reward', 'optim', 'config.ts'],
  'defaults.ts': ['config.ts', 'option-values.ts', 'settings.ts'],
  play: jobs,
  'job.ts': [...jobs, 'index.ts'],
  'run-config.ts': jobs,
  report: [...jobs, 'run-config.ts'],
  'train-events.ts': jobs,
  'tensorboard.ts': [...jobs, 'train-events.ts'],
  'run-list.ts': [...jobs, 'run-config.ts'],
  'train.ts': [...jobs, 'job.ts', 'run-config.ts', 'report', 'tensorboard.ts', 'train-events.ts'],
  'run-report.ts': [...jobs, 'train-events.ts', 'dry-run.ts', 'memory-plan.ts'],
  'run-teller.ts': [...jobs, 'train-events.ts', 'run-report.ts'],
  'make-builtin.ts': jobs,
  'estimate-vstar.ts': [...jobs, 'job.ts'],
  'loaded-model.ts': stages,
  'memory-plan.ts': [...blocks, 'policy.ts'],
  'dry-run.ts': [...jobs, 'job.ts', 'memory-plan.ts'],
  'model-card.ts': [...jobs, 'make-builtin.ts'],
  commands: joined,
  'library.ts': joined,
  'index.ts': [...joined, 'library.ts'],
  'command-table.ts': ['config.ts', 'commands'],
  'command-line.ts': ['config.ts', 'errors.ts', 'option-values.ts', 'command-table.ts'],
  'cli.ts': [...ground, 'run', 'command-line.ts'],
};

interface Import {
  readonly file: string;
  readonly target: string;
  readonly typeOnly: boolean;
  readonly dynamic: boolean;
}

const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => file.endsWith('.ts'));

const imports: Import[] = files.flatMap((file) => {
  const text = readFileSync(join('src', file), 'utf8');
  const statics = [...text.matchAll(/^(?:import|export)\s+(type\s)?[^'";]*?from '([^']+)'|^import '([^']+)'/gm)];
  const dynamics = [...text.matchAll(/\bimport\('([^']+)'\)/g)];
  const local = (target: string) =>
    target.startsWith('.') ? posix.join(dirname(file), target).replace(/\.js$/, '.ts') : target;
  return [
    ...statics.map(([, type, from, bare]) => ({
      file,
      target: local(from ?? bare ?? ''),
      typeOnly: type !== undefined,
      dynamic: false,
    })),
    ...dynamics.map(([, target]) => ({ file, target: local(target ?? ''), typeOnly: false, dynamic: true })),
  ];
});

const part = (file: string) => file.split('/')[0] as string;
const isOurs = (target: string) => files.includes(target);

test('every part of src/ has its row', () => {
  assert.deepEqual(
    [...new Set(files.map(part))].filter((name) => !(name in allowed)),
    [],
  );
});

test('imports go one way', () => {
  assert.ok(imports.length > 100, 'the list is real');
  const wrong = imports
    .filter(({ target }) => isOurs(target))
    .filter(({ file, target }) => part(file) !== part(target) && !allowed[part(file)]?.includes(part(target)))
    .map(({ file, target }) => `${file} imports ${target}`);
  assert.deepEqual(wrong, []);
});

test('commands do not import each other, and only the table loads them, when one runs', () => {
  const wrong = imports.filter(
    ({ file, target, dynamic }) => target.startsWith('commands/') && !(file === 'command-table.ts' && dynamic),
  );
  assert.deepEqual(wrong, []);
});

test('reward/ knows the types of data/ only, and only commands and the command line know the options', () => {
  const wrong = imports.filter(
    ({ file, target, typeOnly }) =>
      (part(file) === 'reward' && part(target) === 'data' && !typeOnly) ||
      (target === 'config.ts' && part(file) === 'commands' && !typeOnly),
  );
  assert.deepEqual(wrong, []);
});

test('the ground needs Node only; tensors are engine and above; tfjs-node-gpu is imported nowhere', () => {
  const packages = imports.filter(({ target }) => !isOurs(target) && !target.startsWith('node:'));
  const wrong = packages.filter(({ file, target }) => {
    if (ground.includes(part(file))) return `${file} ${target}` !== 'util/random.ts seedrandom';
    if (target.startsWith('@tensorflow/tfjs-node')) return true; // engine/backend.ts loads it by path
    return target.startsWith('@tensorflow/') && ['data', 'reward', 'run', 'commands', 'cli.ts'].includes(part(file));
  });
  assert.deepEqual(wrong, []);
});
