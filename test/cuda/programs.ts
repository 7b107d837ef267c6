/**
 * @file Every program that tinyzero compiles, by the code that compiles it in a run: policies (each algorithm's loss, all
 * weights and adapters, both precisions, recomputed layers, shared prefixes), supervised training, sampling in every way of
 * drawing, scoring, pre-training, and the programs of `doctor`.
 */
import { qwen2Config, qwenHalfBillion } from '../../bench/checkpoints.js';
import { blockProgram } from '../../src/cli/doctor/block.js';
import type { Engine } from '../../src/engine/backend.js';
import {
  alone,
  type CreateProgram,
  defineFunction,
  type Program,
  type ProgramSpec,
  typed,
} from '../../src/engine/program.js';
import { parameterState, samplingSizes } from '../../src/model/load.js';
import { type ModelConfig, parseModelConfig } from '../../src/model/network/config.js';
import { loraTargets } from '../../src/model/network/params.js';
import { samplingParts } from '../../src/model/sampling/program.js';
import { frozenState } from '../../src/model/sampling/weights.js';
import { planScoring, scoreFunctions } from '../../src/model/score.js';
import { optimizer } from '../../src/options/defaults.js';
import { createLearner } from '../../src/policy/learner.js';
import { createPolicy, type PolicyOptions, type TrainingOptions } from '../../src/policy/policy.js';
import { shapeOfBatches } from '../../src/policy/update-shape.js';
import { pretrain } from '../../src/pretrain/builtin.js';
import { type Algorithm, algorithms } from '../../src/stage2/algorithm.js';

export interface NamedProgram {
  readonly name: string;
  readonly spec: ProgramSpec;
}

const small = { layers: 2, width: 64, heads: 4, kvHeads: 2, ffn: 96, vocabulary: 256 };
const halfBillion = { ...parseModelConfig(qwenHalfBillion, 'Qwen2.5-0.5B'), layers: 3 };
/** What the families have and the one above lacks: norms of heads, an output layer of its own, no biases, scaled angles. */
const others: readonly (readonly [string, ModelConfig])[] = [
  ['Qwen3', { ...qwen2Config(small), family: 'qwen3', qkNorm: true, qkvBias: false }],
  ['Llama', { ...qwen2Config(small), family: 'llama', tied: false, qkvBias: false, outBias: true, mlpBias: true }],
];

const adapters = { rank: 16, alpha: 32, targets: loraTargets };

export async function allPrograms(): Promise<NamedProgram[]> {
  const found: NamedProgram[] = [];
  let name = '';
  const engine = collector((spec) => found.push({ name, spec }));
  const policy = (
    config: ModelConfig,
    precision: 'f32' | 'bf16',
    options: Partial<TrainingOptions> & Pick<PolicyOptions, 'dtypeOf'>,
    sharedPrefix = 0,
  ) => {
    const { dtypeOf, ...training } = options;
    createPolicy(engine, config, {
      sizes: { promptLengths: [40, 48], sharedPrefix, maxNewTokens: 64, slots: 16 },
      precision,
      ...(dtypeOf && { dtypeOf }),
      training: { batchSize: 16, optimizer, loss: lossOf('apo'), maxGradientNorm: 1, ...training },
    });
  };
  for (const precision of ['f32', 'bf16'] as const) {
    name = `Qwen2.5-0.5B, ${precision}, all weights`;
    policy(halfBillion, precision, {});
    name = `Qwen2.5-0.5B, ${precision}, adapters`;
    policy(halfBillion, precision, { lora: adapters, dtypeOf: () => 'bfloat16' });
    name = `Qwen2.5-0.5B, ${precision}, embeddings frozen`;
    policy(halfBillion, precision, { freeze: 'embeddings', dtypeOf: () => 'bfloat16' });
    name = `Qwen2.5-0.5B, ${precision}, layers recomputed, shared prefix`;
    policy(halfBillion, precision, { microBatch: 16 }, 32);
  }
  for (const [family, config] of others) {
    for (const lora of [undefined, adapters]) {
      name = `${family}, bf16, ${lora ? 'adapters' : 'all weights'}`;
      policy(config, 'bf16', { lora, dtypeOf: () => 'bfloat16' });
    }
  }
  for (const algorithm of Object.keys(algorithms) as (keyof typeof algorithms)[]) {
    name = `--algo ${algorithm}`;
    const { anchor, addsValue, tracksValues: scores }: Algorithm = algorithms[algorithm];
    policy(qwen2Config(small), 'f32', { loss: lossOf(algorithm), anchor, addsValue, scores });
  }
  name = 'sft';
  const rows = [60, 20, 90].map((length) => ({ promptIds: [1, 2], completionIds: new Array<number>(length).fill(3) }));
  const shape = shapeOfBatches(halfBillion, [rows], { batchSize: 3 });
  for (const lora of [undefined, adapters]) {
    createLearner(engine, halfBillion, { shape, precision: 'bf16', optimizer, maxGradientNorm: 1, lora, seed: 1 });
  }
  sampling(engine, (drawn) => {
    name = drawn;
  });
  name = 'score';
  const { groups } = planScoring(halfBillion, rows);
  engine.createProgram({ state: parameterState(halfBillion), functions: scoreFunctions(halfBillion, groups, 'bf16') });
  name = 'pretrain';
  await pretrain(engine, {
    config: qwen2Config(small),
    seed: 1,
    steps: 0,
    batchSize: 4,
    length: 32,
    learningRate: 1e-3,
    rows: () => [],
  });
  name = 'doctor';
  engine.createProgram(blockProgram);
  name = 'state of every dtype';
  engine.createProgram(everyDtype);
  return found;
}

function lossOf(name: keyof typeof algorithms): TrainingOptions['loss'] {
  const settings = { beta1: 0.5, beta2: 1e-3, numSamples: 8, batchSize: 16 };
  return (arithmetic, row) => algorithms[name].loss(arithmetic, row, settings);
}

/** Every way in which `generate` draws. */
function sampling(engine: Engine, named: (name: string) => void): void {
  const sizes = samplingSizes(halfBillion, { promptLengths: [40], rollouts: 4, maxNewTokens: 32 });
  const ways = {
    greedy: { greedy: true, topK: 0, topP: 1 },
    'top-k': { greedy: false, topK: 20, topP: 1 },
    'top-k and top-p': { greedy: false, topK: 20, topP: 0.8 },
    'top-p': { greedy: false, topK: 0, topP: 0.9 },
  };
  for (const [way, draw] of Object.entries(ways)) {
    named(`generate, ${way}`);
    const { state, functions } = samplingParts(halfBillion, sizes, draw, 'bf16');
    engine.createProgram({ state: { ...frozenState(halfBillion, 'bf16'), ...state }, functions });
  }
}

/** Writers, readers and plain assignments of every kind of state. */
const everyDtype: ProgramSpec = {
  state: {
    float: { dtype: 'float32', shape: [3] },
    narrow: { dtype: 'float32', shape: [3], stored: 'bf16' },
    int: { dtype: 'int32', shape: [3] },
    bool: { dtype: 'bool', shape: [3] },
  },
  functions: {
    swap: defineFunction({ inputs: {}, body: (state) => ({ assign: { float: state.narrow!, narrow: state.float! } }) }),
    keep: defineFunction({ inputs: {}, body: ({ int, bool }) => ({ assign: { int: int!, bool: bool! } }) }),
  },
};

/** Stands for an engine on a machine with a GPU: hands over the programs that would be compiled there. */
function collector(collect: (spec: ProgramSpec) => void): Engine {
  const createProgram: CreateProgram = (spec) => {
    collect(spec);
    const program: Program = {
      spec,
      ...alone(() => ({})),
      run: () => ({}),
      write: () => {},
      fill: () => {},
      read: () => new Float32Array(),
      dispose: () => {},
    };
    return typed(program, spec);
  };
  return {
    name: 'tensorflow',
    description: 'none',
    device: 'gpu',
    storesBytes: false,
    multipliesBfloat16: true,
    createProgram,
    createEagerProgram: createProgram,
    createComposedProgram: createProgram,
    tensorCount: () => 0,
  };
}
