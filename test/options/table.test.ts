import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commands } from '../../src/cli/tables/commands.js';
import { defaultsTable } from '../../src/options/defaults.js';
import { trainingOptionNames } from '../../src/options/names.js';
import { completeSettings, defaultOptions } from '../../src/options/settings.js';
import { type OptionSpec, resolveOptions } from '../../src/options/spec.js';
import { flag, type OptionName, options } from '../../src/options/table.js';
import { defaultText, optionGroups, optionTable } from '../../src/options/texts.js';

const names = Object.keys(options) as OptionName[];

test('every option has a help text that fits its place, and a default that is valid', () => {
  for (const name of names) {
    const spec = options[name] as OptionSpec;
    assert.match(spec.help, /^([a-z]|[A-Z]{2}).*[^.]$/, `${name}: a phrase, without a full stop`);
    if (spec.type === 'choice') assert.ok(spec.default === undefined || spec.choices.includes(spec.default), name);
    if (spec.type === 'integer' || spec.type === 'number') {
      const value = spec.default ?? spec.min ?? 0;
      assert.ok(value >= (spec.min ?? -Infinity) && value <= (spec.max ?? Infinity), name);
    }
  }
  const grouped = Object.values(optionGroups).flat();
  assert.deepEqual([...grouped].sort(), [...names].sort(), 'every option is under one heading');
  for (const { words, options: own } of commands) {
    assert.equal(new Set(own.map(flag)).size, own.length, `flags of ${words.join(' ')} are distinct`);
  }
});

test('a flag takes precedence over the environment, which takes precedence over the default', () => {
  const env = { TINYZERO_ENGINE: 'wasm', TINYZERO_NO_INSTALL: '1' };
  const problems: string[] = [];
  const resolve = (flags: Partial<Record<OptionName, string | boolean>>, variables: NodeJS.ProcessEnv) =>
    resolveOptions(['engine', 'install', 'json', 'model'], flags, variables, problems);
  const rest = { json: false, model: undefined };
  assert.deepEqual(resolve({}, {}), { engine: 'auto', install: true, ...rest });
  assert.deepEqual(resolve({}, env), { engine: 'wasm', install: false, ...rest });
  assert.deepEqual(resolve({ engine: 'tensorflow' }, env), { engine: 'tensorflow', install: false, ...rest });
  assert.deepEqual(resolve({ install: true }, {}), { engine: 'auto', install: false, ...rest }, '--no-install');
  assert.deepEqual(resolve({}, { TINYZERO_NO_INSTALL: '0', TINYZERO_ENGINE: '' }), resolve({}, {}));
  assert.deepEqual(problems, []);
});

test('a wrong value in the environment is named by its variable', () => {
  const problems: string[] = [];
  resolveOptions(['engine'], {}, { TINYZERO_ENGINE: 'gpu' }, problems);
  assert.deepEqual(problems, ["TINYZERO_ENGINE: expected auto, tensorflow, webgpu or wasm, found 'gpu'"]);
});

test('the table for the documents has a row per option', () => {
  const rows = optionTable(names).split('\n');
  assert.equal(rows.length, names.length + 2);
  assert.ok(
    rows.includes(
      '| `--engine <auto\\|tensorflow\\|webgpu\\|wasm>` | auto | `TINYZERO_ENGINE` | native TensorFlow, WebGPU (any graphics card), WebAssembly, or the fastest available one |',
    ),
  );
});

test('defaults that depend on the model come from their table', () => {
  const { builtin, instruct } = defaultsTable;
  const rates = [builtin, instruct].map(({ lr, freeze }) => lr(135e6, { lora: false, freeze }).toExponential());
  assert.equal(defaultText('lr'), `${rates[0]} built-in, ${rates[1]} others at 135M`);
  assert.equal(defaultText('beta1'), String(builtin.beta1), 'one value where all agree');
  assert.equal(defaultText('numTest'), String(options.numTest.default));
  assert.equal(defaultText('task'), undefined);
  // Every option that a run completes shows what it is completed by.
  const settings = completeSettings(defaultOptions(), { heldOut: 'tiny', hasChatTemplate: false, parameters: 413_000 });
  for (const name of trainingOptionNames) {
    const isCompleted = options[name].type !== 'boolean' && settings[name] !== undefined && name !== 'model';
    assert.equal(defaultText(name) !== undefined, isCompleted, name);
  }
});
