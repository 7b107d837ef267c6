import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findCommand, parseArguments } from '../../src/cli/command-line.js';
import { configText, readConfig } from '../../src/options/config-file.js';
import { trainingOptionNames } from '../../src/options/names.js';
import { completeSettings, defaultOptions } from '../../src/options/settings.js';
import type { OptionName } from '../../src/options/table.js';
import { UserError } from '../../src/util/errors.js';
import { tinyzero } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';
import { runBytes, shortRun } from '../helpers/runs.js';

function parsed(line: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const spec = findCommand(line)!;
  return parseArguments(spec, line.slice(spec.words.length), env, readConfig);
}

test('a file gives options by flag or by name, in TOML and JSON; flags, then the environment, win over it', (t) => {
  const folder = temporaryFolder(t);
  const toml = join(folder, 'some.toml');
  writeFileSync(
    toml,
    'lr = 1e-4\nbatch-size = 8\nforce = true\ninstall = false\nengine = "wasm"\nsystem = "Be brief."\n',
  );
  const json = join(folder, 'some.json');
  writeFileSync(
    json,
    '{"lr": 1e-4, "batchSize": 8, "force": true, "install": false, "engine": "wasm", "system": "Be brief."}',
  );
  for (const path of [toml, json]) {
    const { values, given } = parsed(['train', '--config', path]);
    const { lr, batchSize, force, install, engine, system, epochs } = values;
    assert.deepEqual(
      { lr, batchSize, force, install, engine, system, epochs },
      { lr: 1e-4, batchSize: 8, force: true, install: false, engine: 'wasm', system: 'Be brief.', epochs: undefined },
    );
    assert.ok(given.has('lr') && given.has('force') && !given.has('epochs'));
    assert.ok(!('config' in values));
  }
  const flags = parsed(['train', `--config=${toml}`, '--lr', '3', '--no-force', '--install']).values;
  assert.deepEqual([flags.lr, flags.force, flags.install, flags.batchSize], [3, false, true, 8]);
  const env = { TINYZERO_ENGINE: 'auto' };
  assert.equal(parsed(['train', '--config', toml], env).values.engine, 'auto');
  assert.equal(parsed(['train', '--config', toml, '--engine', 'tensorflow'], env).values.engine, 'tensorflow');
  assert.deepEqual(parsed(['report', 'runs/a', '--config', list(folder)]).values.compareRuns, ['runs/b', 'runs/c']);
});

function list(folder: string): string {
  const path = join(folder, 'list.toml');
  writeFileSync(path, 'compare = ["runs/b", "runs/c"]\n');
  return path;
}

test('errors name the file and the key, and what was meant', (t) => {
  const path = join(temporaryFolder(t), 'wrong.toml');
  const fails = (text: string, pattern: RegExp, command = ['train']) => {
    writeFileSync(path, text);
    assert.throws(
      () => parsed([...command, '--config', path]),
      (error) => error instanceof UserError && pattern.test(error.message),
      `${text}: ${pattern}`,
    );
  };
  fails('batchsize = 8', /wrong\.toml: batchsize: not an option of `tinyzero train`; did you mean batch-size\?/);
  fails('lr = 1\n', /lr: not an option of `tinyzero doctor`/, ['doctor']);
  fails('lr = [1e-4, 2e-4]', /lr: expected a number, found \[0\.0001,0\.0002\]; `tinyzero sweep` takes lists/);
  fails('force = 1', /force: expected true or false, found 1/);
  fails('force = "yes"\nxyzzyq = 2', /force: expected(.|\n)*xyzzyq: not an option of `tinyzero train`$/);
  fails('lr = -1', /wrong\.toml: lr: expected a number, above 0, found '-1'/);
  fails(
    'algo = "ppo"',
    /wrong\.toml: algo: expected apo, oapl, grpo, dr-grpo, rloo, reinforce, spo or tbrm, found 'ppo'/,
  );
  fails('lr = ', /wrong\.toml is not valid TOML/);
  fails('__proto__ = 1', /not valid TOML|not an option/);
  fails('lr = 1979-05-27', /lr: expected a number/);
  fails('format = "tinyzero-run-2"', /is the record of a run.*options\.toml/);
  assert.throws(() => parsed(['train', '--config', `${path}.missing`]), /wrong\.toml\.missing/);
});

test('what a run writes about itself gives the same settings again', (t) => {
  const model = { heldOut: 'tiny', hasChatTemplate: false, parameters: 413_000 } as const;
  const settings = completeSettings(
    defaultOptions({ lr: 3e-7, beta1: 1 / 3, system: 'Say "no"\\\n\ttwice. ✓', force: true, loraRank: 4 }),
    model,
  );
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'run'));
  const text = configText('train', trainingOptionNames, settings as Partial<Record<OptionName, unknown>>);
  writeFileSync(join(folder, 'run', 'options.toml'), text);
  const { values } = parsed(['train', '--config', join(folder, 'run')]);
  const again = completeSettings(
    defaultOptions(Object.fromEntries(trainingOptionNames.map((name) => [name, values[name]]))),
    model,
  );
  assert.deepEqual(again, settings);
});

test('train --config RUN repeats the run: the same bytes', async (t) => {
  const folder = temporaryFolder(t);
  const [first, second, third] = ['a', 'b', 'c'].map((name) => join(folder, name)) as [string, string, string];
  const flags = ['--engine', 'wasm', '--quiet'];
  const { code, stderr } = await tinyzero(['train', ...shortRun, '--out', first, ...flags]);
  assert.equal(code, 0, stderr);
  assert.match(readFileSync(join(first, 'options.toml'), 'utf8'), /^batch-size = 8$/m);
  const again = await tinyzero(['train', '--config', first, '--out', second, '--quiet']);
  assert.equal(again.code, 0, again.stderr);
  assert.deepEqual(runBytes(second), runBytes(first));
  const other = await tinyzero([
    'train',
    '--config',
    join(first, 'options.toml'),
    '--seed',
    '6',
    '--out',
    third,
    '--quiet',
  ]);
  assert.equal(other.code, 0, other.stderr);
  assert.notDeepEqual(runBytes(third)['metrics.jsonl'], runBytes(first)['metrics.jsonl']);
});
