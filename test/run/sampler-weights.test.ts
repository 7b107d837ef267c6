/** `--sampler-weights int8`: whole runs, what they log and how they resume, and where it is refused. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadModel, sample, score, train } from '../../src/index.js';
import { savePretrained } from '../../src/model/checkpoint/save.js';
import { parseModelConfig } from '../../src/model/network/config.js';
import { fanInDeviation, initialParameter, parameterSpecs } from '../../src/model/network/params.js';
import { readLog } from '../../src/run/logs.js';
import { keyedRandom } from '../../src/util/random.js';
import { tinyzero } from '../helpers/cli.js';
import { assertUserRejection } from '../helpers/errors.js';
import { fixture, readFixture, temporaryFolder } from '../helpers/files.js';
import { nativeTest } from '../helpers/native.js';
import { runBytes } from '../helpers/runs.js';
import { stopAfter } from '../helpers/stopped.js';

/** A model with random weights whose layers are read as bytes. */
async function savedModel(folder: string): Promise<void> {
  const configRecord = {
    ...readFixture('qwen2-tied-f32', 'config.json'),
    hidden_size: 256,
    intermediate_size: 1152,
    num_hidden_layers: 1,
    // Small embeddings: with large ones, the model is certain that the last token is repeated.
    initializer_range: 0.02,
  };
  const config = parseModelConfig(configRecord, 'test');
  const specs = parameterSpecs(config);
  await savePretrained(folder, {
    configRecord,
    specs,
    dtype: 'float32',
    carryFrom: fixture('qwen2-tied-f32'),
    read: (name) => {
      const shape = specs[name] as readonly number[];
      return initialParameter(name, shape, fanInDeviation(name, shape, config), keyedRandom('int8', name).uniform);
    },
  });
}

const work = {
  engine: 'tensorflow',
  install: false,
  samplerWeights: 'int8',
  wording: 'number',
  numTrain: 4,
  numTest: 2,
  evalSamples: 1,
  evalEvery: 0,
  epochs: 3,
  batchSize: 4,
  numSamples: 2,
  maxNewTokens: 6,
  trainOn: 'all',
  saveEvery: 1,
  force: true,
  seed: 4,
} as const;

nativeTest(
  'a run samples with int8 weights, logs how far they are from the policy, and resumes to the same bytes',
  async (t) => {
    const root = temporaryFolder(t);
    const model = join(root, 'model');
    await savedModel(model);
    const [whole, stopped] = [join(root, 'whole'), join(root, 'stopped')];
    await train({ ...work, model, folder: whole });
    const metrics = [...readLog(join(whole, 'metrics.jsonl'))];
    assert.equal(metrics.length, 3);
    for (const { samplerDifference: max, samplerMeanDifference: mean } of metrics as Record<string, number>[]) {
      assert.ok(mean! > 1e-5 && mean! < 0.1 && max! >= mean! && max! < 1, `mean ${mean}, max ${max}`);
    }
    await stopAfter(1, { ...work, model, folder: stopped });
    await train({ ...work, model, folder: stopped, resume: true });
    assert.deepEqual(runBytes(stopped), runBytes(whole));

    // The samples are those of the bytes, and the log-probs of given completions those of the weights.
    const call = { engine: 'tensorflow', install: false, samplerWeights: 'int8' } as const;
    const loaded = await loadModel(model, call);
    try {
      const [samples] = await sample(loaded, ['What is 3 × 4?'], { maxNewTokens: 8 });
      const drawn = samples![0]!;
      const [scored] = await score(loaded, [{ prompt: 'What is 3 × 4?', completion: drawn.ids }]);
      const differences = drawn.logProbs.map((logProb, i) => Math.abs(logProb - scored!.logProbs[i]!));
      assert.ok(Math.max(...differences) > 1e-5 && Math.max(...differences) < 0.5, String(differences));
    } finally {
      loaded.close();
    }
  },
);

test('int8 weights are refused where there are no kernels for them, and where the loss needs samples of the policy', async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  const refused = train({ ...work, wording: 'auto', engine: 'wasm', folder });
  await assertUserRejection(
    refused,
    /--sampler-weights int8 needs tinyzero's own kernels.*WebAssembly.*--sampler-weights full/s,
  );
  for (const algo of ['grpo', 'reinforce']) {
    const { code, stderr } = await tinyzero(['train', '--algo', algo, '--sampler-weights', 'int8', '--dry-run']);
    assert.equal(code, 2);
    assert.match(stderr, /--sampler-weights: .* needs samples from the unrounded policy; int8 works with apo, oapl/);
  }
});
