/**
 * @file Who draws the rollouts of stage 2: the policy as it was at the last refresh. In this process, the trained tensors of
 * that time are put in the policy's place while it samples, so that lag costs a copy of them on the host and nothing else.
 */
import type { Policy } from '../policy/policy.js';
import type { ReadTensor } from '../policy/trained-state.js';

/** Samples from the policy as it was at the last refresh. */
export interface LaggedSampler extends Pick<Policy, 'sample'> {
  /** Makes the samples that follow those of the policy as it is now. */
  refresh(): Promise<void>;
  /** Makes the samples that follow those of a policy with these trained tensors: the refresh of an interrupted run. */
  restore(read: ReadTensor): Promise<void>;
  /** A trained tensor as it was at the last refresh. */
  read: ReadTensor;
}

/** What a policy's trained tensors are copied and replaced by. */
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

/** Always samples from the policy as it is: no lag, and no copy. */
export function currentSampler({ read }: Pick<Policy, 'read'>, sample: Policy['sample']): LaggedSampler {
  return { read, sample, refresh: async () => {}, restore: async () => {} };
}

/** Samples from a copy of `policy` made at the last refresh, with `policy` itself. */
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
