/**
 * GGUF against the reference: the gguf package of Python reads our files and its own to the same numbers, bit for bit, and
 * writes the same q8_0. TINYZERO_GGUF names another file to read.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { exportGguf } from '../../../src/model/gguf/export.js';
import { closeGguf, openGguf, readGgufTensor } from '../../../src/model/gguf/header.js';
import { openModel } from '../../../src/model/open.js';
import { silentReporter } from '../../../src/util/reporter.js';
import { fixture, temporaryFolder } from '../../helpers/files.js';
import { runPython, withoutPython } from '../../helpers/python.js';

const never = new AbortController().signal;
const skip = withoutPython('gguf');

const hashes = `
import hashlib, json, sys
import numpy as np
from gguf import GGUFReader, quants
reader = GGUFReader(sys.argv[1])
widened = lambda t: np.ascontiguousarray(quants.dequantize(t.data, t.tensor_type), dtype=np.float32)
print(json.dumps({t.name: hashlib.sha256(widened(t).tobytes()).hexdigest() for t in reader.tensors}))`;

function ourHashes(path: string): Record<string, string> {
  const file = openGguf(path);
  const hash = (values: Float32Array) => createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
  const all = [...file.tensors.values()].map((tensor) => [tensor.name, hash(readGgufTensor(file, tensor))]);
  closeGguf(file);
  return Object.fromEntries(all);
}

for (const format of ['f32', 'f16', 'bf16', 'q8_0'] as const) {
  test(`the reference reads our ${format} to the same numbers`, { skip }, async (t) => {
    const model = await openModel(fixture('qwen3-tied'), silentReporter, never);
    const path = join(temporaryFolder(t), 'x.gguf');
    await exportGguf(path, { ...model, name: 'x' }, format);
    model.pretrained.weights.close();
    assert.deepEqual(ourHashes(path), runPython(hashes, null, [path]));
  });
}

test('the reference writes the same q8_0', { skip }, async (t) => {
  const model = await openModel('builtin', silentReporter, never);
  const [exact, narrow] = ['exact', 'narrow'].map((name) => join(temporaryFolder(t), `${name}.gguf`)) as [
    string,
    string,
  ];
  await exportGguf(exact, { ...model, name: 'x' }, 'f32');
  await exportGguf(narrow, { ...model, name: 'x' }, 'q8_0');
  model.pretrained.weights.close();
  const script = `
import json, sys
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, quants
exact, narrow = (GGUFReader(path).tensors for path in sys.argv[1:])
same = [np.array_equal(quants.quantize(np.array(a.data), b.tensor_type), b.data) for a, b in zip(exact, narrow) if b.tensor_type == GGMLQuantizationType.Q8_0]
print(json.dumps([all(same), len(same)]))`;
  assert.deepEqual(runPython(script, null, [exact, narrow]), [true, 29]);
});

const given = process.env.TINYZERO_GGUF;
test('the file that TINYZERO_GGUF names', { skip: skip || (given === undefined && 'it is not set') }, () => {
  assert.deepEqual(ourHashes(given!), runPython(hashes, null, [given!]));
});
