/** An exported ONNX model answers in transformers.js as the model does in tinyzero. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type ExportResult, exportModel } from '../../../src/model/export/export.js';
import { openInTransformersJs } from '../../../src/model/export/peer.js';
import type { ExportFormat } from '../../../src/model/export/targets.js';
import { exportOnnx } from '../../../src/model/onnx/decoder.js';
import { openModel } from '../../../src/model/open.js';
import { silentReporter } from '../../../src/util/reporter.js';
import { fixture, temporaryFolder } from '../../helpers/files.js';

const never = new AbortController().signal;

function checked(t: TestContext, model: string, format: ExportFormat): Promise<ExportResult> {
  const request = { model, to: 'onnx', format, out: join(temporaryFolder(t), 'x'), name: 'x' } as const;
  return exportModel({ ...request, check: true, engine: 'wasm', install: false }, silentReporter, never);
}

// Tied and untied heads, biases, norms of heads, Llama 3's rotary scaling, several query heads for one of keys.
for (const model of ['builtin', fixture('llama'), fixture('qwen2-untied-bf16'), fixture('qwen3-tied')]) {
  test(`${model.split('/').at(-1)}: the same greedy tokens, log-probs within 1e-4`, async (t) => {
    const { check } = await checked(t, model, 'f32');
    assert.deepEqual([check!.sameTokens, check!.sameAnswers], [20, 20], JSON.stringify(check));
    assert.ok(check!.largestLogProbGap! < 1e-4, `${check!.largestLogProbGap}`);
  });
}

test('a tokenizer.json without the parts that it does not need, as of a GGUF file, opens in transformers.js', async (t) => {
  const folder = join(temporaryFolder(t), 'llama');
  cpSync(fixture('llama'), folder, { recursive: true });
  const path = join(folder, 'tokenizer.json');
  const { post_processor: _, normalizer: __, ...rest } = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify(rest));
  const { check } = await checked(t, folder, 'f32');
  assert.deepEqual([check!.sameTokens, check!.sameAnswers], [20, 20], JSON.stringify(check));
});

test('float16 and bytes: half and a quarter of the size, the same token ids of prompts, and close log-probs', async (t) => {
  const [exact, half, bytes] = [
    await checked(t, 'builtin', 'f32'),
    await checked(t, 'builtin', 'f16'),
    await checked(t, 'builtin', 'q8'),
  ];
  assert.ok(half.bytes < 0.55 * exact.bytes && bytes.bytes < 0.3 * exact.bytes);
  assert.equal(bytes.check!.sameTokens, 20);
  // The built-in model is stored in bfloat16: float16 holds all but its smallest numbers.
  assert.ok(half.check!.largestLogProbGap! < 1e-2, `${half.check!.largestLogProbGap}`);
  assert.ok(bytes.check!.largestLogProbGap! < 1, `${bytes.check!.largestLogProbGap}`);
});

test('tensors in files beside the graph, below the limit, give the same model', async (t) => {
  const model = await openModel(fixture('llama'), silentReporter, never);
  const root = temporaryFolder(t);
  const limit = 200_000;
  const files = await exportOnnx(join(root, 'outside'), model, 'f32', limit);
  await exportOnnx(join(root, 'inside'), model, 'f32');
  model.pretrained.weights.close();
  assert.ok(files.length > 2, 'there are several files');
  for (const path of files) assert.ok(statSync(path).size <= limit, path);
  const config = JSON.parse(readFileSync(join(root, 'outside', 'config.json'), 'utf8'));
  assert.deepEqual(config['transformers.js_config'], { use_external_data_format: { 'model.onnx': files.length - 1 } });
  const promptIds = model.tokenizer.encode('What is 7 × 8?');
  const question = { text: '', addSpecialTokens: true, promptIds, maxNewTokens: 8, endIds: [] };
  const answers = [];
  for (const name of ['outside', 'inside']) {
    const peer = await openInTransformersJs(join(root, name), 'fp32');
    answers.push(await peer.answer(question));
    await peer.close();
  }
  assert.deepEqual(answers[0], answers[1]);
  assert.equal(answers[0]!.ids.length, 8);
});

test('the folder has what transformers.js looks for', async (t) => {
  const { path } = await checked(t, fixture('qwen3-tied'), 'f16');
  assert.deepEqual(readdirSync(join(path, 'onnx')), ['model_fp16.onnx']);
  for (const name of ['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json']) {
    assert.ok(existsSync(join(path, name)), name);
  }
});
