/** @file Updates of a policy on a Tinker server beside the same updates on this machine. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { openEngine } from '../../../src/engine/backend.js';
import type { EngineName } from '../../../src/engine/choices.js';
import { openPretrained } from '../../../src/model/checkpoint/pretrained.js';
import { loraTargets } from '../../../src/model/network/params.js';
import type { PlacedPolicy } from '../../../src/policy/placed.js';
import { createPolicy } from '../../../src/policy/policy.js';
import { squaredError } from '../../../src/stage2/loss.js';
import { assertClose } from '../close.js';

const beta2 = 0.05;

/** Training of adapters of this rank, as on the servers: alpha 32, on all layers, without clipping of gradients. */
export function trainingOf(rank: number) {
  return {
    batchSize: 3,
    lora: { rank, alpha: 32, targets: loraTargets },
    loss: (arithmetic, row) => squaredError(arithmetic, row, beta2),
    optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
    maxGradientNorm: 1e9,
    seed: 3,
  } satisfies Parameters<typeof createPolicy>[2]['training'];
}

export const promptIds = [15, 8, 16, 9, 18];
/** Completions of unequal lengths, so that a wrong scale changes the direction of the gradient. */
const rows = [
  [20, 4, 3, 1],
  [19, 8, 16, 3, 17, 5, 1],
  [4, 1],
].map((completionIds) => ({ promptIds, completionIds }));
export const batch = { rows, advantages: [0.7, -0.4, 0.2], temperature: 1, learningRate: 3e-3 };

const flat = (values: readonly Float32Array[]) => values.flatMap((row) => [...row]);
const largest = (values: readonly number[]) => Math.max(...values.map(Math.abs));

/**
 * Fails unless two updates of an untrained adapter on a server are those of the same adapter here: log-probs before within 2e-5,
 * after one update within 1e-3, the adapter after two within 2e-4. Prints what they are.
 *
 * @param remote the policy on the server, with {@link trainingOf} this rank.
 */
export async function assertSameUpdates(
  t: TestContext,
  remote: PlacedPolicy,
  { folder, rank, engine }: { readonly folder: string; readonly rank: number; readonly engine: EngineName },
): Promise<void> {
  // All requests come first: a server may close a connection that is idle while this machine computes.
  await remote.server!.save();
  const adapter = new Map(Object.keys(remote.specs).map((name) => [name, remote.read(name)]));
  const first = await remote.update({ ...batch, step: 1 });
  const second = await remote.update({ ...batch, step: 2 });
  await remote.server!.save();

  const { config, weights } = openPretrained(folder);
  const local = createPolicy(await openEngine(engine), config, {
    sizes: { promptLengths: [promptIds.length], maxNewTokens: 8, slots: 3 },
    training: trainingOf(rank),
  });
  t.after(() => local.dispose());
  local.load(weights.read);
  local.loadMoments();
  // The server drew the adapter.
  local.loadTrained((name) => adapter.get(name)!);
  const expected = await local.update({ ...batch, step: 1 });
  const next = await local.update({ ...batch, step: 2 });

  const difference = (a: readonly number[], b: readonly number[]) => largest(a.map((value, i) => value - b[i]!));
  const [before, after] = [flat(first.logProbs), flat(second.logProbs)];
  const trained = Object.keys(local.specs).map((name) => difference([...remote.read(name)], [...local.read(name)]));
  t.diagnostic(
    [
      `log-probs differ by ${difference(before, flat(expected.logProbs)).toExponential(1)} before`,
      `by ${difference(after, flat(next.logProbs)).toExponential(1)} after an update that moved one by ${difference(after, before).toPrecision(2)}`,
      `the adapter after two by ${largest(trained).toExponential(1)}`,
    ].join(', '),
  );
  assertClose('log-probs before', before, flat(expected.logProbs), { absolute: 2e-5 });
  assertClose('of the reference', flat(first.refLogProbs), flat(expected.refLogProbs), { absolute: 2e-5 });
  assertClose('loss', [first.loss, second.loss], [expected.loss, next.loss], { absolute: 1e-5 });
  assertClose('log-probs after one update', after, flat(next.logProbs), { absolute: 1e-3 });
  assert.ok(difference(after, before) > 0.02, 'the update is far larger than the tolerance');
  for (const name of Object.keys(local.specs)) {
    assertClose(name, remote.read(name), local.read(name), { absolute: 2e-4 });
  }
  assert.equal(first.gradientNorm, undefined);
}
