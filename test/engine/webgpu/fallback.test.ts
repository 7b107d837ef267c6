/** Every program that training, sampling and scoring need is compiled to WGSL. One that is not is reported once, and computes the same. */
import assert from 'node:assert/strict';
import { checksOf } from '../../../src/cli/doctor/engine.js';
import { type Engine, openEngine } from '../../../src/engine/backend.js';
import { dispatchesOf } from '../../../src/engine/wgsl/program.js';
import { parseModelConfig } from '../../../src/model/network/config.js';
import { loraTargets } from '../../../src/model/network/params.js';
import { openRequestedEngine } from '../../../src/model/open.js';
import type { DrawOptions } from '../../../src/model/sampling/draw.js';
import { samplingParts } from '../../../src/model/sampling/program.js';
import { frozenState } from '../../../src/model/sampling/weights.js';
import { planScoring, scoreFunctions } from '../../../src/model/score.js';
import { optimizer } from '../../../src/options/defaults.js';
import { createLearner } from '../../../src/policy/learner.js';
import { createPolicy, type TrainingOptions } from '../../../src/policy/policy.js';
import { shapeOfBatches } from '../../../src/policy/update-shape.js';
import { type Algorithm, algorithms } from '../../../src/stage2/algorithm.js';
import { silentReporter } from '../../../src/util/reporter.js';
import { webGpuTest } from '../../helpers/webgpu.js';

const record = { model_type: 'llama', vocab_size: 64, hidden_size: 8, num_hidden_layers: 8, num_attention_heads: 2 };
/** 74 weights: more than a kernel has operands. */
const deep = parseModelConfig({ ...record, intermediate_size: 8, max_position_embeddings: 64 }, 'deep');
const qwen3 = parseModelConfig(
  { ...record, model_type: 'qwen3', num_hidden_layers: 1, num_key_value_heads: 1, intermediate_size: 8, head_dim: 4 },
  'qwen3',
);
const adapters = { rank: 2, alpha: 4, targets: loraTargets };
const sizes = { promptLengths: [6], sharedPrefix: 2, maxNewTokens: 4, slots: 2 };

function lossOf(name: keyof typeof algorithms): TrainingOptions['loss'] {
  const settings = { beta1: 0.5, beta2: 1e-3, numSamples: 2, batchSize: 2 };
  return (arithmetic, row) => algorithms[name].loss(arithmetic, row, settings);
}

/** Collects what an engine reports, and counts its programs. */
async function reporting() {
  const opened = await openEngine('webgpu');
  const sentences: string[] = [];
  opened.onFallback!((sentence) => sentences.push(sentence));
  const compiled: boolean[] = [];
  const createProgram: Engine['createProgram'] = (spec) => {
    const program = opened.createProgram(spec);
    compiled.push(dispatchesOf(program) !== undefined);
    return program;
  };
  return { engine: { ...opened, createProgram }, sentences, compiled };
}

webGpuTest(
  'programs that train, sample and score are compiled, in both precisions, with and without adapters',
  async () => {
    const { engine, sentences, compiled } = await reporting();
    const training = { batchSize: 2, optimizer, maxGradientNorm: 1, loss: lossOf('apo') };
    const rows = [5, 9].map((length) => ({ promptIds: [1, 2], completionIds: new Array<number>(length).fill(3) }));
    for (const precision of ['f32', 'bf16'] as const) {
      createPolicy(engine, deep, { sizes, precision }).dispose();
      for (const lora of [undefined, adapters]) {
        for (const config of [deep, qwen3]) {
          createPolicy(engine, config, { sizes, precision, training: { ...training, lora } }).dispose();
        }
        const shape = shapeOfBatches(qwen3, [rows], { batchSize: 2 });
        createLearner(engine, qwen3, { shape, precision, optimizer, maxGradientNorm: 1, lora, seed: 1 }).dispose();
      }
      const { groups } = planScoring(deep, rows);
      engine
        .createProgram({ state: frozenState(deep, precision), functions: scoreFunctions(deep, groups, precision) })
        .dispose();
    }
    for (const name of Object.keys(algorithms) as (keyof typeof algorithms)[]) {
      const { anchor, addsValue, tracksValues: scores }: Algorithm = algorithms[name];
      const own = { ...training, loss: lossOf(name), anchor, addsValue, scores };
      createPolicy(engine, qwen3, { sizes, training: own }).dispose();
    }
    assert.deepEqual(sentences, []);
    assert.ok(compiled.length >= 16 && compiled.every(Boolean), `${compiled}`);
  },
);

webGpuTest(
  'a program that is not compiled is reported once, with the function and the op, in the log of a command',
  async () => {
    const lines: string[] = [];
    const reporter = { ...silentReporter, line: (text: string) => void lines.push(text) };
    const request = { engine: 'webgpu', install: false, precision: 'f32' } as const;
    const engine = await openRequestedEngine(request, reporter, new AbortController().signal);
    const draw: DrawOptions = { greedy: false, topK: 4, topP: 1 };
    const caches = { slots: 2, positions: 8, prompts: 1, promptPositions: 4, chunk: 4, admissions: 1 };
    for (let turn = 0; turn < 2; turn += 1) {
      const { state, functions } = samplingParts(qwen3, caches, draw);
      const program = engine.createProgram({ state: { ...frozenState(qwen3, 'f32'), ...state }, functions });
      assert.equal(dispatchesOf(program), undefined);
      program.dispose();
    }
    const notes = lines.filter((line) => line.startsWith('Note:'));
    assert.equal(notes.length, 1, lines.join('\n'));
    assert.match(
      notes[0]!,
      /^Note: WebGPU cannot compile a program: decode[.\w]* needs the op \w+ of \w+\. So .*decode.* run op by op/,
    );
  },
);

webGpuTest("doctor plans the built-in model's programs", async () => {
  const { engine } = await reporting();
  const [, check] = checksOf(engine).find(([name]) => name === 'compiled')!;
  const { ok, found } = await check(engine);
  assert.ok(ok, found);
});
