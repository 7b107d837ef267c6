/**
 * @file The model of one run as one program: what layout.ts lists on the device, functions that sample and that train.
 * Values of whole tensors pass through here one at a time. Knows tokens and numbers, nothing of text, rewards or files.
 */
import type { Engine } from '../engine/backend.js';
import type { Precision } from '../engine/choices.js';
import type { Program } from '../engine/program.js';
import { checkMemory, stateBytes } from '../model/load.js';
import type { ModelConfig } from '../model/network/config.js';
import { initialAdapter } from '../model/network/lora.js';
import type { ParameterSpecs } from '../model/network/params.js';
import { type Completion, type Rollout, type SampleOptions, sample, samplingParts } from '../model/sampling/sample.js';
import { copyFunction, onCopies } from '../model/sampling/weights.js';
import { keyedRandom } from '../util/random.js';
import { momentSpecsOf, type PolicySizes, policyLayout, referenceName } from './layout.js';
import { runUpdate, type UpdateBatch, type UpdateOptions, type UpdateResult, updateFunctions } from './update.js';
import { chooseUpdateShape } from './update-shape.js';

export type { PolicySizes } from './layout.js';
export type { UpdateBatch } from './update.js';

export interface TrainingOptions extends UpdateOptions {
  /** Rows of one update. */
  readonly batchSize: number;
  /** Sequences that are computed together; absent: chosen by update-shape.ts. */
  readonly microBatch?: number | undefined;
  /** Frozen weights whose values are bfloat16's, so that they lose nothing when they are kept so. Default: none. */
  readonly isNarrow?: (name: string) => boolean;
  /** Of the adapters' starting values. Default 0. */
  readonly seed?: number;
}

export interface PolicyOptions {
  readonly sizes: PolicySizes;
  readonly precision?: Precision;
  /** Absent: the policy is only sampled from, and holds neither reference nor moments. */
  readonly training?: TrainingOptions;
}

/** Gives a parameter's values, float32 and row-major, by its Hugging Face name. */
type ReadTensor = (name: string) => Float32Array;

export interface Policy {
  readonly config: ModelConfig;
  /** Names and shapes of what is trained: all parameters, or the adapters. */
  readonly specs: ParameterSpecs;
  /** Names and shapes of the optimiser's moments. */
  readonly momentSpecs: ParameterSpecs;
  /** Writes every parameter of the model. Adapters get their starting values, with which the model is unchanged. */
  load(read: ReadTensor): void;
  /** Writes what is trained, by the names of `specs`. */
  loadTrained(read: ReadTensor): void;
  /**
   * Writes every parameter of the reference, if it has its own: that of adapters is the model without them. Until the first
   * update a reference of the same values has the same log-probs.
   */
  loadReference(read: ReadTensor): void;
  /** Writes the moments; without `read`, zeros. */
  loadMoments(read?: ReadTensor): void;
  /** A copy of a trained parameter or moment. */
  read(name: string): Float32Array;
  sample(rollouts: readonly Rollout[], options: SampleOptions): Promise<Completion[]>;
  /** One step of AdamW. @throws NumericsError when gradient or log-probs are not finite; no weight is changed then. */
  update(batch: UpdateBatch): UpdateResult;
  dispose(): void;
}

/** Builds the program; parameters must be loaded before anything else is done with it. */
export function createPolicy(engine: Engine, config: ModelConfig, options: PolicyOptions): Policy {
  const { sizes, training, precision = 'f32' } = options;
  const { lora, isNarrow, seed = 0 } = training ?? {};
  const layout = policyLayout(config, sizes, { precision, isNarrow, lora });
  const shape = training && chooseUpdateShape(config, { ...sizes, ...training });
  // The whole distribution is drawn from: top-k and top-p would make samples that the log-probs do not describe.
  const drawing = { greedy: false, topK: 0, topP: 1 };
  const { functions } = samplingParts(config, layout.sizes, drawing, precision);
  const copied = training !== undefined && Object.keys(layout.copies).length > 0;
  const state = {
    ...layout.caches,
    ...(training === undefined
      ? layout.samplingOnly
      : {
          ...{ ...layout.parameters, ...layout.adapters, ...layout.copies },
          ...{ ...layout.reference, ...layout.moments, ...layout.gradients },
        }),
  };
  checkMemory(engine, stateBytes(state), 'The model with all that is kept for it');
  const program = engine.createProgram({
    state,
    functions: {
      ...(copied ? { ...onCopies(functions, layout.copies), copy: copyFunction(layout.copies, lora) } : functions),
      ...(training && shape && updateFunctions(config, layout, shape, training, precision)),
    },
  });
  for (const name of Object.keys(layout.caches)) program.fill(name, 0);
  const names = Object.keys(layout.parameters);
  const momentSpecs = momentSpecsOf(layout.trained);
  let outdated = copied;
  let gradientExists = false;

  const loadTrained = (read: ReadTensor) => {
    writeAll(program, Object.keys(layout.trained), (name) => name, read);
    outdated = copied;
  };
  return {
    config,
    specs: layout.trained,
    momentSpecs,
    load(read) {
      writeAll(program, names, (name) => name, read);
      if (lora !== undefined && training !== undefined) {
        loadTrained((name) => initialAdapter(name, layout.trained[name]!, keyedRandom(seed, 'adapter', name).uniform));
      }
      outdated = copied;
    },
    loadTrained,
    loadReference(read) {
      if (Object.keys(layout.reference).length > 0) writeAll(program, names, referenceName, read);
    },
    loadMoments(read) {
      for (const name of Object.keys(momentSpecs)) {
        if (read === undefined) program.fill(name, 0);
        else program.write(name, read(name));
      }
    },
    read: (name) => program.read(name) as Float32Array,
    async sample(rollouts, sampleOptions) {
      if (outdated) program.run('copy');
      outdated = false;
      return (await sample(program, layout.sizes, rollouts, sampleOptions)).completions;
    },
    update(batch) {
      if (training === undefined || shape === undefined) throw new Error('this policy was built without training');
      // Not before the first update: sampling and evaluation come first, and do without.
      if (!gradientExists) for (const name of Object.keys(layout.gradients)) program.fill(name, 0);
      gradientExists = true;
      const result = runUpdate(program, batch, shape, training.optimizer);
      outdated = copied;
      return result;
    },
    dispose: () => program.dispose(),
  };
}

function writeAll(program: Program, names: readonly string[], target: (name: string) => string, read: ReadTensor) {
  for (const name of names) program.write(target(name), read(name));
}
