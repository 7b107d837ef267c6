/** @file The policy whose updates benchmarks measure: loaded, with a loss of the form of A*PO's; and random weights of any size. */
import type { Engine } from '../src/engine/backend.js';
import type { Precision } from '../src/engine/choices.js';
import type { ModelConfig } from '../src/model/network/config.js';
import { elementCount, parameterSpecs } from '../src/model/network/params.js';
import { optimizer } from '../src/options/defaults.js';
import { createPolicy, type Policy, type PolicyOptions } from '../src/policy/policy.js';
import { squaredError } from '../src/stage2/loss.js';
import { seededUniform } from './measure.js';

interface Work {
  readonly batchSize: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  /** Default: `f32`. */
  readonly precision?: Precision;
}

/** @param read the weights. @param more further options of training. */
export function loadedPolicy(
  engine: Engine,
  config: ModelConfig,
  read: (name: string) => Float32Array,
  { batchSize, promptTokens, newTokens, precision = 'f32' }: Work,
  {
    dtypeOf,
    ...more
  }: Pick<PolicyOptions, 'dtypeOf'> & Pick<NonNullable<PolicyOptions['training']>, 'lora' | 'microBatch'> = {},
): Policy {
  const policy = createPolicy(engine, config, {
    sizes: { promptLengths: [promptTokens], maxNewTokens: newTokens, slots: 1 },
    precision,
    ...(dtypeOf && { dtypeOf }),
    training: {
      batchSize,
      loss: (arithmetic, row) => squaredError(arithmetic, row, 1e-3),
      maxGradientNorm: 1,
      optimizer,
      ...more,
    },
  });
  policy.load(read);
  policy.loadReference(read);
  policy.loadMoments();
  return policy;
}

/** Weights uniform between -halfWidth and halfWidth; norms are 1, biases 0. Parts of one block, since drawing takes long. */
export function randomWeights(config: ModelConfig, halfWidth: number): (name: string) => Float32Array {
  const specs = parameterSpecs(config);
  const uniform = seededUniform(1);
  // A prime length, so that the rows of a matrix differ.
  const block = Float32Array.from({ length: 1_000_003 }, () => (2 * uniform() - 1) * halfWidth);
  return (name) => {
    const values = new Float32Array(elementCount(specs[name]!));
    if (name.endsWith('norm.weight')) return values.fill(1);
    if (name.endsWith('.bias')) return values;
    for (let at = 0; at < values.length; at += block.length) {
      values.set(block.subarray(0, Math.min(block.length, values.length - at)), at);
    }
    return values;
  };
}
