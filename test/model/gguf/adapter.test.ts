/** An adapter written as GGUF, applied to its base in GGUF, gives the weights of the merged model in GGUF. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { saveAdapter } from '../../../src/model/checkpoint/adapter.js';
import { exportModel } from '../../../src/model/export/export.js';
import { openGguf } from '../../../src/model/gguf/header.js';
import { adapterNames, mergedWeight, parameterSpecs } from '../../../src/model/network/params.js';
import { openModel } from '../../../src/model/open.js';
import { silentReporter } from '../../../src/util/reporter.js';
import { assertUserRejection } from '../../helpers/errors.js';
import { fixture, fixtureModels, temporaryFolder } from '../../helpers/files.js';

const signal = new AbortController().signal;
const lora = { rank: 4, alpha: 10, targets: ['q_proj', 'v_proj', 'down_proj'] as const };

for (const name of fixtureModels) {
  test(`${name}: base + alpha / r · B A = the merged model, tensor by tensor`, async (t) => {
    const base = fixture(name);
    const { pretrained } = await openModel(base, silentReporter, signal);
    pretrained.weights.close();
    const specs: Record<string, readonly number[]> = {};
    for (const [weight, [rows, columns]] of Object.entries(parameterSpecs(pretrained.config))) {
      const module = weight.replace(/\.weight$/, '');
      if (!lora.targets.some((target) => module.endsWith(target))) continue;
      specs[adapterNames(module).a] = [lora.rank, columns!];
      specs[adapterNames(module).b] = [rows!, lora.rank];
    }
    const read = (tensor: string) => {
      const size = specs[tensor]!.reduce((a, b) => a * b, 1);
      return Float32Array.from({ length: size }, (_, i) => Math.sin(i * 1.7 + tensor.length));
    };
    const adapter = temporaryFolder(t);
    await saveAdapter(adapter, { lora, specs, base, configRecord: pretrained.configRecord, carryFrom: base, read });

    const written = async (model: string, to: 'gguf' | 'gguf-lora') => {
      const out = temporaryFolder(t);
      const request = {
        model,
        to,
        format: 'f32',
        out,
        name: 'x',
        check: false,
        engine: 'auto',
        install: false,
      } as const;
      return (await exportModel(request, silentReporter, signal)).path;
    };
    const [whole, merged, alone] = [
      tensorsOf(await written(base, 'gguf')),
      tensorsOf(await written(adapter, 'gguf')),
      tensorsOf(await written(adapter, 'gguf-lora')),
    ];
    assert.equal(alone.size, Object.keys(specs).length);
    for (const [tensor, expected] of merged) {
      const [a, b] = [alone.get(`${tensor}.lora_a`), alone.get(`${tensor}.lora_b`)];
      const found = a && b ? mergedWeight(whole.get(tensor)!, a, b, lora) : whole.get(tensor)!;
      assert.deepEqual(found, expected, tensor);
    }
  });
}

test('a model without an adapter is refused', async (t) => {
  const request = { to: 'gguf-lora', format: 'f32', name: 'x', check: false, engine: 'auto', install: false } as const;
  const out = join(temporaryFolder(t), 'out');
  await assertUserRejection(
    exportModel({ ...request, model: 'builtin', out }, silentReporter, signal),
    /is not a LoRA adapter/,
  );
});

function tensorsOf(path: string): Map<string, Float32Array> {
  const bytes = readFileSync(path);
  const { tensors } = openGguf(path);
  return new Map(
    [...tensors].map(([name, { offset, byteLength }]) => {
      const values = bytes.buffer.slice(bytes.byteOffset + offset, bytes.byteOffset + offset + byteLength);
      return [name, new Float32Array(values)];
    }),
  );
}
