import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commands } from '../../src/cli/command-table.js';
import { resolveOptions } from '../../src/options/parse.js';
import { flag, type OptionName, type OptionSpec, options, optionTable } from '../../src/options/table.js';

const names = Object.keys(options) as OptionName[];

test('every option has a help text that fits its place, and a default that is valid', () => {
  for (const name of names) {
    const spec = options[name] as OptionSpec;
    assert.match(spec.help, /^([a-z]|[A-Z]{2}).*[^.]$/, `${name}: a phrase, without a full stop`);
    if (spec.type === 'choice') assert.ok(spec.choices.includes(spec.default), name);
    if (spec.type === 'integer' || spec.type === 'number') {
      const value = spec.default ?? spec.min ?? 0;
      assert.ok(value >= (spec.min ?? -Infinity) && value <= (spec.max ?? Infinity), name);
    }
  }
  for (const { words, options: own } of commands) {
    assert.equal(new Set(own.map(flag)).size, own.length, `flags of ${words.join(' ')} are distinct`);
  }
});

test('a flag goes before the environment, and that before the default', () => {
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
  assert.deepEqual(problems, ["TINYZERO_ENGINE: expected auto or tensorflow or wasm, found 'gpu'"]);
});

test('the table for the README has a row per option', () => {
  const rows = optionTable(names).split('\n');
  assert.equal(rows.length, names.length + 2);
  assert.ok(
    rows.includes(
      '| `--engine <auto\\|tensorflow\\|wasm>` | `auto` | `TINYZERO_ENGINE` | what computes: native TensorFlow, WebAssembly, or the faster one that can be had |',
    ),
  );
});
