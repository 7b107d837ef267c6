/**
 * @file The sampler of stage 2: the policy at its last refresh. In this process, the trained tensors of that time replace the
 * policy's own while it samples, so lag costs only a copy of them on the host.
 */

import type { ReadTensor } from '../policy/layout.js';
import type { Policy } from '../policy/policy.js';

/** Samples from the policy at the last refresh. */
export interface LaggedSampler extends Pick<Policy, 'sample'> {
  /** Makes later samples come from the current policy. */
  refresh(): Promise<void>;
  /** Makes later samples come from a policy with these trained tensors: restores the last refresh of an interrupted run. */
  restore(read: ReadTensor): Promise<void>;
  /** A trained tensor at the last refresh. */
  read: ReadTensor;
}

/** Copies and replaces a policy's trained tensors. */
type Weights = Pick<Policy, 'specs' | 'read' | 'loadTrained'>;

/** A copy of the trained tensors on the host. */
export function heldTensors({ specs }: Pick<Policy, 'specs'>): {
  hold(read: ReadTensor): void;
  readonly read: ReadTensor;
} {
  let held: ReadonlyMap<string, Float32Array> | undefined;
  return {
    hold(read) {
      held = new Map(Object.keys(specs).map((name) => [name, read(name).slice()]));
    },
    read(name) {
      const values = held?.get(name);
      if (values === undefined) throw new Error(`no refresh before ${name} was read`);
      return values;
    },
  };
}

/** Always samples from the current policy: no lag, no copy. */
export function currentSampler({ read }: Pick<Policy, 'read'>, sample: Policy['sample']): LaggedSampler {
  return { read, sample, refresh: async () => {}, restore: async () => {} };
}

/** Samples from a copy made at the last refresh, which is in `policy` only while it samples. */
export function localLaggedSampler(policy: Weights, sample: Policy['sample']): LaggedSampler {
  const held = heldTensors(policy);
  return {
    read: held.read,
    refresh: async () => held.hold(policy.read),
    restore: async (read) => held.hold(read),
    async sample(rollouts, options) {
      const now = heldTensors(policy);
      now.hold(policy.read);
      policy.loadTrained(held.read);
      try {
        return await sample(rollouts, options);
      } finally {
        policy.loadTrained(now.read);
      }
    },
  };
}
