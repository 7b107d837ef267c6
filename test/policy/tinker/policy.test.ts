/**
 * A policy on a server of the Tinker API: its updates are those of the policy on this machine, whichever way the server scales its
 * loss, and what a server does wrong is explained.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openPretrained } from '../../../src/model/checkpoint/pretrained.js';
import type { PlacedPolicy } from '../../../src/policy/placed.js';
import { openTinker } from '../../../src/policy/tinker/client.js';
import { findTinkerModel, tinkerPolicy } from '../../../src/policy/tinker/policy.js';
import { assertUserRejection } from '../../helpers/errors.js';
import { fixture } from '../../helpers/files.js';
import { startTinker, type TestTinker } from '../../helpers/tinker/server.js';
import { assertSameUpdates, batch, promptIds, trainingOf } from '../../helpers/tinker/updates.js';

const folder = fixture('qwen2-tied-f32');
const { config } = openPretrained(folder);
const rank = 4;

async function connect(server: TestTinker, lines: string[] = [], patienceMs = 2000) {
  return await openTinker({
    url: server.url,
    apiKey: undefined,
    timeoutMs: 20_000,
    retryPauseMs: 5,
    patienceMs,
    onTrouble: (line) => lines.push(line),
  });
}

async function policyOn(t: TestContext, server: TestTinker, lines: string[] = []): Promise<PlacedPolicy> {
  const client = await connect(server, lines);
  t.after(() => client.close());
  const onNote = (line: string) => lines.push(line);
  return tinkerPolicy(client, {
    config,
    baseModel: server.model,
    training: trainingOf(rank),
    probeIds: promptIds,
    onNote,
  });
}

const flat = (values: readonly Float32Array[]) => values.flatMap((row) => [...row]);

for (const scaling of ['sum', 'means', 'mean over tokens', 'mean over rows', 'mean over all tokens'] as const) {
  test(`two updates are those of this machine, on a server that scales by: ${scaling}`, async (t) => {
    const lines: string[] = [];
    const server = await startTinker(t, { folder, engine: 'wasm', rank, scaling });
    await assertSameUpdates(t, await policyOn(t, server, lines), { folder, rank, engine: 'wasm' });
    assert.match(lines.join(), /The server (sums|averages) the loss/);
  });
}

test('a server that scales its loss in no known way is refused before anything is trained', async (t) => {
  const server = await startTinker(t, { folder, engine: 'wasm', rank, scaling: 'squares' });
  const policy = await policyOn(t, server);
  await assertUserRejection(
    policy.update({ ...batch, step: 1 }),
    /scales its loss in an unknown way.*times the step for a sequence of/,
  );
  assert.equal(server.loadedModels(), 0, 'the model of the probe is unloaded');
});

test('the gradient that a killed program left on the server does not disturb the probe', async (t) => {
  const server = await startTinker(t, { folder, engine: 'wasm', rank });
  const killed = await connect(server);
  t.after(() => killed.close());
  const model = await killed.createModel(folder, { rank, seed: 1 });
  const logprobs = [-3, -3, -3, -3];
  const row = {
    tokens: [15, 8, 16, 9],
    targets: [8, 16, 9, 18],
    inputs: { logprobs, advantages: [1e4, 1e4, 1e4, 1e4] },
  };
  await killed.forwardBackward(model, [row]);
  await killed.unloadModel(model);
  const lines: string[] = [];
  const policy = await policyOn(t, server, lines);
  await policy.update({ ...batch, step: 1 });
  assert.match(lines.join(), /averages the loss over a sequence's tokens and over sequences/);
});

test('calls survive a busy server, slow results and cut connections; a cut update is not repeated', async (t) => {
  const lines: string[] = [];
  const server = await startTinker(t, { folder, engine: 'wasm', rank });
  server.faults.busy = 2;
  server.faults.later = 2;
  server.faults.cut = { path: 'forward', count: 1 };
  const policy = await policyOn(t, server, lines);
  const { logProbs } = await policy.update({ ...batch, step: 1 });
  assert.ok(flat(logProbs).every(Number.isFinite));
  assert.match(lines[0]!, /503: busy.*Trying again/);
  assert.match(lines.join('\n'), /does not answer: the connection was lost/);
  server.faults.cut = { path: 'forward_backward', count: 1 };
  const before = server.calls.filter((path) => path === 'forward_backward').length;
  await assertUserRejection(policy.update({ ...batch, step: 2 }), /the connection was lost/);
  assert.equal(server.calls.filter((path) => path === 'forward_backward').length, before + 1);
});

test('what a server refuses, forgets or leaves out is explained', async (t) => {
  const server = await startTinker(t, { folder, engine: 'wasm', rank });
  const client = await connect(server);
  t.after(() => client.close());
  await assertUserRejection(
    findTinkerModel(client, 'org/other'),
    /does not have the model org\/other\. Found .*qwen2-tied-f32/,
  );
  assert.equal(await findTinkerModel(client, 'here', folder), folder);
  const request = { baseModel: folder, promptIds, count: 2, maxTokens: 5, temperature: 1, seed: 7, stop: [1] };
  assert.deepEqual(await client.sample(request), await client.sample(request), 'the same seed, the same samples');
  server.faults.fail = { path: 'create_model', error: 'Maximum number of LoRA adapters (4) reached' };
  await assertUserRejection(
    client.createModel(folder, { rank, seed: 1 }),
    /400: Maximum number of LoRA adapters \(4\) reached\. .*room for two more adapters/,
  );
  server.faults.fail = { path: 'asample', error: 'out of memory' };
  await assertUserRejection(client.sample(request), /answers .*400: out of memory/);
  delete server.faults.fail;
  server.faults.forgets = true;
  await assertUserRejection(client.sample(request), /no longer knows a request.*Resume the run/);
  delete server.faults.forgets;
  server.faults.key = 'secret';
  await assertUserRejection(client.supportedModels(), /denies access \(401: no valid key\)\. Set TINKER_API_KEY/);
  delete server.faults.key;
  server.faults.withoutEnd = true;
  const policy = await policyOn(t, server);
  // Of 512 tokens, 256 end a completion: one of four is cut short.
  const endIds = new Set(Array.from({ length: 256 }, (_, id) => id));
  const rollouts = [1, 2, 3, 4].map((n) => ({ promptIds, uniform: () => n / 5, maxNewTokens: 8 }));
  await assertUserRejection(policy.sample(rollouts, { temperature: 1, endIds }), /has no end token/);
});
