/** docs/engine.md is true: its examples run, its links lead to headings, its table of files is complete. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import * as emit from '../../src/engine/lowering/emit.js';
import { lowerings } from '../../src/engine/lowering/lowerings.js';
import { assertClose } from '../helpers/close.js';
import { compiledWay, runOnce, wasmWay } from '../helpers/engines.js';
import { nativeTest } from '../helpers/native.js';

const root = new URL('../../../', import.meta.url);
const text = readFileSync(new URL('docs/engine.md', root), 'utf8');

function runExample(engine: string): string {
  const example = /```js\n(.*?)```/s.exec(text)?.[1];
  assert.ok(example, 'the document has an example');
  // From standard input a module's imports are relative to the working directory, as those of a file there.
  const run = spawnSync(process.execPath, ['--input-type=module', '-', engine], {
    input: example,
    cwd: root,
    encoding: 'utf8',
  });
  assert.equal(run.status, 0, run.stderr);
  return run.stdout;
}

test('the example runs on WebAssembly', () => {
  assert.match(runExample('wasm'), /step 300: loss 0\.00\d\d\nwasm: y = 3\.00 x \+ -1\.00\nat x = 0: -1\.00\n$/);
});

nativeTest('the example runs on native TensorFlow', () => {
  assert.match(runExample('tensorflow'), /tensorflow: y = 3\.00 x \+ -1\.00\nat x = 0: -1\.00\n$/);
});

nativeTest('the lowering that is added as an example computes what it should', async () => {
  const source = /```ts\n(.*?)```/s.exec(text)?.[1];
  const { unary, binary } = emit;
  const added = new Function('unary', 'binary', `return { ${source} };`)(unary, binary);
  // Before the first function is traced: then lowerings are registered with tfjs.
  Object.assign(lowerings, added);
  const vector = { dtype: 'float32', shape: [2, 3] } as const;
  const spec = {
    inputs: { x: vector },
    body: (_state: unknown, inputs: Readonly<Record<string, tf.Tensor>>) => ({
      outputs: { y: tf.prelu(inputs.x as tf.Tensor, tf.tensor1d([0.5, 1, -2])) },
    }),
  };
  const x = Float32Array.of(-1, -2, -3, 4, 5, 6);
  for (const way of [await compiledWay(), await wasmWay()]) {
    assertClose(way.name, runOnce(way, spec, { x }).y ?? [], [-0.5, -2, 6, 4, 5, 6]);
  }
});

test('the table of files names all of src/engine', () => {
  const table = text.slice(text.indexOf('## The files'));
  const files = readdirSync(new URL('src/engine/', root), { withFileTypes: true });
  const names = files.map((file) => (file.isDirectory() ? `${file.name}/` : file.name));
  const listed = [...table.matchAll(/`([\w-]+(?:\.ts|\/))`/g)].map((match) => match[1]!);
  assert.deepEqual(listed.sort(), names.sort());
});

test('links lead to headings', () => {
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map((match) => match[1]!);
  const anchors = headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
  for (const [, target] of text.matchAll(/\]\(#([^)]+)\)/g)) assert.ok(anchors.includes(target as string), target);
});
