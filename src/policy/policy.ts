/**
 * @file The policy: the model of a run as one program, with the state of layout.ts and functions that sample and train.
 * Tensors are copied in and out one at a time. Handles tokens and numbers, not text, rewards or files.
 */
import type { Engine } from '../engine/backend.js';
import { type Precision, type SamplerWeights, weightForm } from '../engine/choices.js';
import { release } from '../engine/ops/state-ops.js';
import { deferred, type FunctionSpecs, type Program, type ReplicaRunner, withFunctions } from '../engine/program.js';
import type { Dtype } from '../model/checkpoint/dtype.js';
import { checkMemory, roomOf, stateBytes } from '../model/load.js';
import type { ModelConfig } from '../model/network/config.js';
import type { CompletionRow } from '../model/network/log-probs.js';
import { samplingParts } from '../model/sampling/program.js';
import { type Completion, type Rollout, type SampleOptions, sample } from '../model/sampling/sample.js';
import { copyFunction, exactForms, onAdapters, onCopies } from '../model/sampling/weights.js';
import { zerosFunction } from './gradients.js';
import {
  type PolicySizes,
  policyLayout,
  type ReadTensor,
  referenceName,
  type TrainedState,
  trainedState,
} from './layout.js';
import { sampleTogether } from './replicas.js';
import {
  runScore,
  runUpdate,
  type UpdateBatch,
  type UpdateOptions,
  type UpdateResult,
  updateFunctions,
} from './update.js';
import { chooseUpdateShape, type UpdateShape } from './update-shape.js';

export type { PolicySizes } from './layout.js';
export type { UpdateBatch } from './update.js';

export interface TrainingOptions extends UpdateOptions {
  /** Rows per update. */
  readonly batchSize: number;
  /** Sequences per pass; absent: chosen by update-shape.ts. */
  readonly microBatch?: number | undefined;
  /** How updates are divided; absent: chosen by update-shape.ts. */
  readonly shape?: UpdateShape;
  /** Seed of the adapters' initial values. Default 0. */
  readonly seed?: number;
}

export interface PolicyOptions {
  readonly sizes: PolicySizes;
  readonly precision?: Precision;
  /** Default: `full`. */
  readonly samplerWeights?: SamplerWeights;
  /** Formats of the checkpoint's weights: frozen ones are stored in 2 bytes if that loses nothing. Default: float32. */
  readonly dtypeOf?: (name: string) => Dtype;
  /** Absent: the policy can only sample, and holds neither reference nor moments. */
  readonly training?: TrainingOptions;
}

/** The part of an engine that a policy needs. */
export type PolicyEngine = Pick<
  Engine,
  'name' | 'device' | 'memoryBytes' | 'assumedBytes' | 'readsHalves' | 'replicas' | 'createProgram'
>;

export interface Policy extends TrainedState {
  readonly config: ModelConfig;
  /**
   * Writes the trained parameters of the reference; frozen ones are the policy's. Does nothing when adapters are trained,
   * since the reference is then the model without them, or when the anchor is the sampler. Before the first update, a
   * reference with the same values has identical log-probs.
   */
  loadReference(read: ReadTensor): void;
  sample(rollouts: readonly Rollout[], options: SampleOptions): Promise<Completion[]>;
  /** One step of AdamW. @throws NumericsError when the gradient or a log-prob is not finite; the weights are then unchanged. */
  update(batch: UpdateBatch): Promise<UpdateResult>;
  /** Log-probs of completions' tokens at the temperature; only with `training.scores`. */
  score(rows: readonly CompletionRow[], temperature: number): Promise<Float32Array[]>;
  dispose(): void;
}

/** A policy on a device that JavaScript cannot wait for synchronously, as in a page. */
export interface DeferredPolicy extends Omit<Policy, 'read'> {
  read(name: string): Promise<Float32Array>;
}

/**
 * Builds the program. Load the parameters before any other use. One call at a time: the next one begins when the promise of
 * the last is settled.
 */
export function createPolicy(engine: PolicyEngine, config: ModelConfig, options: PolicyOptions): Policy {
  return build(engine, config, options, (program) => program).policy;
}

/** As {@link createPolicy}. */
export function createDeferredPolicy(
  engine: PolicyEngine,
  config: ModelConfig,
  options: PolicyOptions,
): DeferredPolicy {
  const { policy, program } = build(engine, config, options, deferred);
  return {
    ...policy,
    read: async (name) => (program.readLater === undefined ? program.read(name) : await program.readLater(name)),
  };
}

/** How functions of a program are run. */
type RunnerOf = <Functions extends FunctionSpecs>(program: Program<Functions>) => ReplicaRunner<Functions>;

function build(engine: PolicyEngine, config: ModelConfig, options: PolicyOptions, runnerOf: RunnerOf) {
  const { sizes, training, precision = 'f32', samplerWeights } = options;
  const { lora, freeze, seed = 0, anchor } = training ?? {};
  const { replicas = 1, readsHalves } = engine;
  const room = roomOf(engine);
  const layout = policyLayout(config, sizes, {
    form: weightForm(precision, samplerWeights),
    formOf: exactForms(engine, options.dtypeOf),
    ...{ readsHalves, lora, freeze, anchor, replicas, room },
  });
  const shape = training && (training.shape ?? chooseUpdateShape(config, { ...sizes, ...training, room }));
  // Samples the full distribution: with top-k or top-p the log-probs would not describe the samples.
  const drawing = { greedy: false, topK: 0, topP: 1 };
  const { functions } = samplingParts(config, layout.sizes, drawing, precision);
  const copied = training !== undefined && Object.keys(layout.copies).length > 0;
  const state = {
    ...layout.caches,
    ...(training === undefined
      ? layout.samplingOnly
      : {
          ...layout.parameters,
          ...layout.adapters,
          ...layout.copies,
          ...layout.reference,
          ...layout.moments,
          ...layout.gradients,
        }),
  };
  checkMemory(engine, stateBytes(state), 'The model with its training state');
  const sampling = copied
    ? onCopies(functions, layout.copies)
    : lora === undefined
      ? functions
      : onAdapters(functions, lora);
  const copying = copied && { copy: copyFunction(layout.copies, lora) };
  // Sampling and updates take turns, so neither needs the other's memory. Elsewhere, zeros take as much memory as data.
  const frees = training !== undefined && engine.name === 'tensorflow' && engine.device === 'cpu';
  const unused = Object.entries({ ...layout.caches, ...layout.copies }).flatMap(([name, { stored }]) =>
    stored === undefined ? [name] : [],
  );
  const updates = training && shape && updateFunctions(config, layout, shape, { ...training, replicas }, precision);
  const releases = frees && {
    releaseSampling: zerosFunction(unused, release),
    releaseGradients: zerosFunction(Object.keys(layout.gradients), release),
  };
  const all: FunctionSpecs = { ...sampling, ...copying, ...updates, ...releases };
  const program = engine.createProgram({ state, functions: all });
  const runner = runnerOf(program);
  const sampled = withFunctions(program, sampling);
  const sampler = runnerOf(sampled);
  const learning = updates && { runner: runnerOf(withFunctions(program, updates)), shape, training };
  for (const name of Object.keys(layout.caches)) program.fill(name, 0);
  const stored = trainedState(program, layout, { lora, seed });
  let outdated = copied;
  let gradientExists = false;
  /** Whether sampling, or an update, has used its memory since it was released. */
  const used = { sampling: false, update: false };

  /**
   * Before sampling. Outdated copies of the weights are refreshed. The gradients' memory is released only for more rollouts
   * than an update has, as in an evaluation, since releasing it every time would slow updates down.
   */
  async function beforeSampling(rollouts: number) {
    if (frees && used.update && rollouts > training.batchSize) {
      await runner.run('releaseGradients');
      used.update = false;
    }
    if (outdated) await runner.run('copy');
    outdated = false;
    used.sampling = true;
  }

  const policy: Policy = {
    config,
    ...stored,
    load(read) {
      stored.load(read);
      outdated = copied;
    },
    loadTrained(read) {
      stored.loadTrained(read);
      outdated = copied;
    },
    loadReference(read) {
      if (Object.keys(layout.reference).length === 0) return;
      for (const name of Object.keys(layout.trained)) program.write(referenceName(name), read(name));
    },
    async sample(rollouts, sampleOptions) {
      await beforeSampling(rollouts.length);
      if (program.replicas > 1) return await sampleTogether(sampled, layout.sizes, rollouts, sampleOptions);
      return (await sample(sampler, layout.sizes, rollouts, sampleOptions)).completions;
    },
    async update(batch) {
      if (learning === undefined) throw new Error('this policy was built without training');
      // Allocated by the first update; sampling and evaluation come first and do not need it.
      if (!gradientExists) for (const name of Object.keys(layout.gradients)) program.fill(name, 0);
      gradientExists = true;
      outdated = copied;
      if (frees && used.sampling) await runner.run('releaseSampling');
      used.sampling = false;
      used.update = true;
      return await runUpdate(learning.runner, batch, learning.shape, learning.training);
    },
    async score(rows, temperature) {
      if (!learning?.training.scores) throw new Error('this policy was built without scoring');
      return await runScore(learning.runner, rows, temperature, learning.shape);
    },
    dispose: () => program.dispose(),
  };
  return { policy, program };
}
