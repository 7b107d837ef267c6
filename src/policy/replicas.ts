/**
 * @file Sampling and updates on several processes: each samples and computes the gradient for a part of the rows. Then one
 * call sums the gradients, takes the AdamW step and sends the new values to all. Each trained tensor has one owner, which
 * receives its gradient from the others, keeps its moments and sends its new value. The traffic equals that of an
 * all-reduce, and the moments are stored only once. Sums are taken in the order of the replicas, so a repeated run has the
 * same bytes.
 */
import * as tf from '@tensorflow/tfjs-core';
import { onReplica } from '../engine/graph/trace.js';
import { sumOfSquares } from '../engine/ops/state-ops.js';
import * as adamw from '../engine/optim/adamw.js';
import type { AdamWOptions } from '../engine/optim/settings.js';
import { defineFunction, type Program, type Runner, stateOn, type TensorRecord } from '../engine/program.js';
import type { ParameterSpecs } from '../model/network/params.js';
import type { CacheSizes } from '../model/sampling/kv-cache.js';
import type { SamplingFunctions } from '../model/sampling/program.js';
import { type Completion, type Rollout, type SampleOptions, sample } from '../model/sampling/sample.js';
import { gradientName, ownersOf } from './layout.js';

/** As `applyFunction` of update.ts, by all replicas. */
export function applyTogether(
  trained: ParameterSpecs,
  replicas: number,
  optimizer: AdamWOptions,
  maxGradientNorm: number,
) {
  const all = Array.from({ length: replicas }, (_, replica) => replica);
  const owners = ownersOf(trained, replicas);
  const owned = all.map((replica) => Object.keys(trained).filter((name) => owners.get(name) === replica));
  return defineFunction({
    inputs: adamw.stepInputs,
    outputs: { norm: 'float32' },
    joint: true,
    checkNumerics: true,
    body(state, inputs) {
      const sums = all.map((replica) => onReplica(replica, () => sumsOf(state, owned[replica]!, all)));
      const squares = all.map((replica) =>
        onReplica(replica, () => tf.addN([tf.scalar(0), ...Object.values(sums[replica]!).map(sumOfSquares)])),
      );
      const norm = onReplica(0, () => tf.sqrt(tf.addN(squares)));
      const assign: Record<string, tf.Tensor> = {};
      for (const replica of all) {
        onReplica(replica, () => {
          const scale = adamw.clipScale(norm, maxGradientNorm);
          const own = Object.fromEntries(
            Object.keys(trained).flatMap((name) => {
              const { m, v } = adamw.momentNames(name);
              return [name, m, v].map((each) => [each, stateOn(replica, each)] as const);
            }),
          );
          const view = lazily(own, (name) => state[name]!);
          const updated = adamw.update(view, sums[replica]!, inputs, optimizer, scale);
          for (const [name, value] of Object.entries(updated)) {
            const sharers = name in trained ? all : [replica];
            for (const sharer of sharers) assign[stateOn(sharer, name)] = value;
          }
        });
      }
      return { outputs: { norm }, assign };
    },
  });
}

/** The sums over all replicas of the gradients of `names`. */
function sumsOf(state: TensorRecord, names: readonly string[], replicas: readonly number[]): TensorRecord {
  return Object.fromEntries(
    names.map((name) => [name, tf.addN(replicas.map((replica) => state[stateOn(replica, gradientName(name))]!))]),
  );
}

/** A record whose values are made on access. */
function lazily<T>(names: Readonly<Record<string, string>>, make: (name: string) => T): Readonly<Record<string, T>> {
  const view = {};
  for (const [key, name] of Object.entries(names)) {
    Object.defineProperty(view, key, { enumerable: true, get: () => make(name) });
  }
  return view;
}

/**
 * As `sample`, with the rollouts divided among the replicas. A prompt's rollouts mostly stay together, since each replica
 * computes the prompts that it needs.
 */
export async function sampleTogether(
  program: Program<SamplingFunctions>,
  sizes: CacheSizes,
  rollouts: readonly Rollout[],
  options: SampleOptions,
): Promise<Completion[]> {
  const count = Math.min(program.replicas, rollouts.length);
  const firstOf = (replica: number) => Math.floor((replica * rollouts.length) / count);
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const parts = await Promise.allSettled(
    Array.from({ length: count }, async (_, replica) => {
      const first = firstOf(replica);
      const { onToken, onCompletion } = options;
      const own: SampleOptions = {
        ...options,
        signal,
        ...(onToken && { onToken: (index, id) => onToken(first + index, id) }),
        ...(onCompletion && { onCompletion: (index, completion) => onCompletion(first + index, completion) }),
      };
      const functions: Runner<SamplingFunctions> = {
        run: (name, inputs) => program.start(name, { replica, inputs }),
      };
      try {
        return (await sample(functions, sizes, rollouts.slice(first, firstOf(replica + 1)), own)).completions;
      } catch (error) {
        stop.abort(error); // the others can stop
        throw error;
      }
    }),
  );
  if (stop.signal.aborted) throw stop.signal.reason;
  return parts.flatMap((part) => (part.status === 'fulfilled' ? part.value : []));
}
