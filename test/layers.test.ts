/**
 * @file The plan of the house: which folder may import which, and how large folders and files may grow.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { test } from 'node:test';

/** Entries of src/, lowest first: each imports itself and those above it in this list. There are no exceptions. */
const layers = [
  'util',
  'reward',
  'data',
  'engine',
  'model',
  'policy',
  'stage1',
  'stage2',
  'options',
  'pretrain',
  'run',
  'report',
  'index.ts',
  'cli',
  'cli.ts',
];

/** Where no tensor is met. (`doctor` computes, to check the engine.) */
const withoutTensors = ['reward', 'data', 'options', 'run', 'cli/commands', 'cli/terminal', 'cli/play', 'cli.ts'];

const limits = { entries: 15, filesInFolder: 15, lines: 350 };

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

const layer = (file: string) => file.split('/')[0] as string;
const isOurs = (target: string) => files.includes(target);

test('src/ has the entries of the plan, and not too many', () => {
  assert.deepEqual(readdirSync('src').sort(), [...layers].sort());
  assert.ok(layers.length <= limits.entries);
});

test('no folder and no file is too large', () => {
  const inFolder = new Map<string, number>();
  for (const file of files) inFolder.set(dirname(file), (inFolder.get(dirname(file)) ?? 0) + 1);
  const fullFolders = [...inFolder].filter(([, count]) => count > limits.filesInFolder);
  assert.deepEqual(fullFolders, []);
  const longFiles = files.filter((file) => readFileSync(join('src', file), 'utf8').split('\n').length > limits.lines);
  assert.deepEqual(longFiles, []);
});

test('imports go one way', () => {
  assert.ok(imports.length > 100, 'the list is real');
  const wrong = imports
    .filter(({ target }) => isOurs(target))
    .filter(({ file, target }) => layers.indexOf(layer(target)) > layers.indexOf(layer(file)))
    .map(({ file, target }) => `${file} imports ${target}`);
  assert.deepEqual(wrong, []);
});

test('there are no circular imports', () => {
  const needs = new Map<string, string[]>(files.map((file) => [file, []]));
  for (const { file, target, typeOnly } of imports) {
    if (isOurs(target) && !typeOnly && file !== target) needs.get(file)!.push(target);
  }
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    const start = path.indexOf(file);
    assert.equal(start, -1, `a circle: ${[...path.slice(start), file].join(' -> ')}`);
    if (done.has(file)) return;
    for (const next of needs.get(file)!) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
});

test('commands do not import each other, and only the tables load them, when one runs', () => {
  const wrong = imports.filter(
    ({ file, target, dynamic }) => target.startsWith('cli/commands/') && !(file.startsWith('cli/tables/') && dynamic),
  );
  assert.deepEqual(wrong, []);
});

test('util needs three small packages; tensors are engine and above; tfjs-node-gpu is imported nowhere', () => {
  const packages = imports.filter(({ target }) => !isOurs(target) && !target.startsWith('node:'));
  const wrong = packages.filter(({ file, target }) => {
    if (layer(file) === 'util') return !['seedrandom', 'valibot', 'which'].includes(target);
    if (target.startsWith('@tensorflow/tfjs-node')) return true; // engine/backend.ts loads it by path
    return target.startsWith('@tensorflow/') && withoutTensors.some((folder) => file.startsWith(folder));
  });
  assert.deepEqual(wrong, []);
});
