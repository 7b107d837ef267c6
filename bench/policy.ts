/** @file The policy whose updates benchmarks measure: loaded, with a loss of the form of A*PO's. */
import type { Engine } from '../src/engine/backend.js';
import type { Precision } from '../src/engine/choices.js';
import type { ModelConfig } from '../src/model/network/config.js';
import { optimizer } from '../src/options/defaults.js';
import { createPolicy, type Policy, type PolicyOptions } from '../src/policy/policy.js';
import { squaredError } from '../src/stage2/loss.js';

interface Work {
  readonly batchSize: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly precision: Precision;
}

/** @param read the weights. @param more further options of training. */
export function loadedPolicy(
  engine: Engine,
  config: ModelConfig,
  read: (name: string) => Float32Array,
  { batchSize, promptTokens, newTokens, precision }: Work,
  more: Pick<NonNullable<PolicyOptions['training']>, 'isNarrow' | 'lora'> = {},
): Policy {
  const policy = createPolicy(engine, config, {
    sizes: { promptLengths: [promptTokens], maxNewTokens: newTokens, slots: 1 },
    precision,
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
