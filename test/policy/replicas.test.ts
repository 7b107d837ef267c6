/**
 * Several processes: real workers on loopback sample and train together with this process. Completions are the same, and
 * updates agree with those of one process up to rounding, whatever the number of workers.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Engine, openEngine } from '../../src/engine/backend.js';
import { LostWorkerError } from '../../src/engine/cluster.js';
import { NumericsError } from '../../src/engine/program.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import type { LoraOptions } from '../../src/model/network/params.js';
import { createPolicy, type Policy } from '../../src/policy/policy.js';
import { squaredError } from '../../src/stage2/loss.js';
import { keyedRandom } from '../../src/util/random.js';
import { fixture } from '../helpers/files.js';
import { nativeTest } from '../helpers/native.js';
import { startWorkers, type Worker } from '../helpers/workers.js';

const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 };
const prompts = [[5, 9, 12], [7, 3], [5, 9, 12], [11, 4, 8, 2], [6, 1], [2, 2, 2], [9], [4, 4]];
const lora: LoraOptions = { rank: 4, alpha: 8, targets: ['q_proj', 'down_proj'] };

let workers: Worker[] = [];
const stops: (() => void)[] = [];
before(async () => {
  workers = await startWorkers({ after: (stop) => void stops.push(stop as () => void) }, 3);
});
after(() => {
  for (const stop of stops) stop();
});

async function engineWith(count: number): Promise<Engine> {
  const engine = await openEngine('tensorflow');
  return count === 0 ? engine : await engine.withWorkers!(workers.slice(0, count).map(({ address }) => address));
}

async function withPolicy<T>(engine: Engine, adapters: LoraOptions | undefined, work: (policy: Policy) => Promise<T>) {
  const pretrained = openPretrained(fixture('qwen2-tied-f32'));
  const policy = createPolicy(engine, pretrained.config, {
    sizes: { promptLengths: prompts.map(({ length }) => length), maxNewTokens: 6, slots: 8 },
    training: {
      batchSize: 8,
      microBatch: 2,
      optimizer,
      maxGradientNorm: 0.5,
      lora: adapters,
      loss: (arithmetic, row) => squaredError(arithmetic, row, 0.3),
    },
  });
  try {
    policy.load(pretrained.weights.read);
    policy.loadReference(pretrained.weights.read);
    policy.loadMoments();
    return await work(policy);
  } finally {
    policy.dispose();
    pretrained.weights.close();
  }
}

/** Samples, updates, samples again and updates: everything that a run of stage 2 gets from a policy. */
async function train(policy: Policy) {
  const steps = [];
  for (const step of [1, 2]) {
    const completions = await policy.sample(
      prompts.map((promptIds, index) => {
        const random = keyedRandom(index, `step ${step}`);
        return { promptIds, uniform: () => random.uniform(), maxNewTokens: 6 };
      }),
      { temperature: 1, endIds: new Set([0]) },
    );
    const rows = completions.map(({ ids }, index) => ({ promptIds: prompts[index]!, completionIds: ids }));
    const advantages = rows.map((_, index) => Math.sin(index));
    const update = await policy.update({ rows, advantages, temperature: 1, step, learningRate: 1e-3 });
    steps.push({ completions, update });
  }
  const weights = Object.keys(policy.specs).map((name) => [name, policy.read(name)] as const);
  const moments = Object.keys(policy.momentSpecs).map((name) => [name, policy.read(name)] as const);
  return { steps, weights, moments };
}

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, relative: number, what: string): void {
  assert.equal(actual.length, expected.length, what);
  let largest = 0;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!));
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    assert.ok(difference <= relative * largest, `${what}[${i}]: ${actual[i]} and ${expected[i]}`);
  }
}

for (const [what, adapters, counts] of [
  ['all weights', undefined, [1, 3]],
  ['adapters', lora, [2]],
] as const) {
  nativeTest(`${counts.map((count) => count + 1).join(' and ')} processes train ${what} as one does`, async () => {
    const alone = await withPolicy(await engineWith(0), adapters, train);
    for (const count of counts) {
      const engine = await engineWith(count);
      assert.equal(engine.replicas, count + 1);
      const together = await withPolicy(engine, adapters, train);
      for (const [index, { completions, update }] of together.steps.entries()) {
        const expected = alone.steps[index]!;
        assert.deepEqual(
          completions.map(({ ids }) => ids),
          expected.completions.map(({ ids }) => ids),
        );
        for (const [row, logProbs] of update.logProbs.entries()) {
          assertClose(logProbs, expected.update.logProbs[row]!, 1e-5, `log-probs of row ${row}`);
          assertClose(update.refLogProbs[row]!, expected.update.refLogProbs[row]!, 1e-5, 'reference');
        }
        assertClose([update.loss], [expected.update.loss], 1e-5, 'loss');
        assertClose([update.gradientNorm], [expected.update.gradientNorm], 1e-5, 'norm');
      }
      for (const [index, [name, values]] of together.moments.entries()) {
        assertClose(values, alone.moments[index]![1], 1e-4, name);
      }
      // A gradient that is zero up to rounding moves a weight by any part of the learning rate, 1e-3.
      for (const [index, [name, values]] of together.weights.entries()) {
        assertClose(values, alone.weights[index]![1], 1e-3, name);
      }
    }
  });
}

nativeTest('a gradient that is not finite changes no weight, in no process', async () => {
  await withPolicy(await engineWith(2), undefined, async (policy) => {
    const rows = prompts.map((promptIds) => ({ promptIds, completionIds: [3, 4] }));
    const batch = { rows, temperature: 1, step: 1, learningRate: 1e-3 };
    const good = rows.map((_, index) => index / 8);
    const [first] = Object.keys(policy.specs);
    const before = policy.read(first!);
    await assert.rejects(policy.update({ ...batch, advantages: [...good.slice(1), Number.NaN] }), NumericsError);
    assert.deepEqual(policy.read(first!), before);
    assert.ok(Number.isFinite((await policy.update({ ...batch, advantages: good })).loss));
  });
});

nativeTest('a worker listens on the address that it was given, and on no other', (t) => {
  if (!existsSync('/proc/net/tcp')) return t.skip('the sockets of this system are not in /proc');
  const listening = socketsOf(workers[0]!).filter(({ state }) => state === '0A');
  // 127.0.0.1 as the kernel prints it, of IPv4 or mapped into IPv6.
  assert.equal(listening.length, 1);
  assert.match(listening[0]!.local.split(':')[0]!, /^(0{16}FFFF0000)?0100007F$/);
});

nativeTest(
  'both ends of a connection are asked whether they are there, since a machine can vanish silently',
  async (t) => {
    if (!existsSync('/proc/net/tcp')) return t.skip('the sockets of this system are not in /proc');
    await withPolicy(await engineWith(1), lora, async (policy) => {
      await policy.sample([{ promptIds: [5, 9], uniform: () => 0.3, maxNewTokens: 6 }], {
        temperature: 1,
        endIds: new Set([0]),
      });
      const connected = () => socketsOf(workers[0]!).filter(({ state }) => state === '01');
      assert.ok(connected().length >= 2, 'this process and the worker');
      // 2: the timer of keepalive. Just after something was sent, another one runs.
      for (let tries = 0; !connected().every(({ timer }) => timer === '02'); tries++) {
        assert.ok(tries < 600, JSON.stringify(connected()));
        await sleep(100);
      }
    });
  },
);

/** Sockets of a worker and those connected to it, as the kernel lists them. */
function socketsOf({ address }: Worker): { local: string; state: string; timer: string }[] {
  const port = `:${Number(address.split(':')[1]).toString(16).toUpperCase().padStart(4, '0')}`;
  return ['/proc/net/tcp', '/proc/net/tcp6'].filter(existsSync).flatMap((path) =>
    readFileSync(path, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, local, remote]) => local?.endsWith(port) || remote?.endsWith(port))
      .map(([, local, , state, , timer]) => ({ local: local!, state: state!, timer: timer!.split(':')[0]! })),
  );
}

nativeTest('wrong addresses are named', async () => {
  const engine = await engineWith(0);
  await assert.rejects(engine.withWorkers!(['nowhere']), /--workers: expected host:port, such as .*, found 'nowhere'/);
  await assert.rejects(engine.withWorkers!(['127.0.0.1:1']), /No worker answers at 127\.0\.0\.1:1 \(ECONNREFUSED\)/);
});

nativeTest('a worker that dies ends the step with its name', async () => {
  const { address, process: child } = workers[2]!;
  await withPolicy(await engineWith(3), lora, async (policy) => {
    const request = { promptIds: [5, 9], uniform: () => 0.3, maxNewTokens: 6 };
    const options = { temperature: 1, endIds: new Set([0]) };
    assert.equal((await policy.sample(Array(4).fill(request), options)).length, 4);
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    await assert.rejects(policy.sample(Array(4).fill(request), options), (error) => {
      assert.ok(error instanceof LostWorkerError, `${error}`);
      assert.match(error.message, new RegExp(`The worker ${address} was lost`));
      return true;
    });
  });
});
