/** The real SkyRL tx (JAX on the processor, `npm run test:engines -- tinker`) trains the built-in model. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { after, before, test } from 'node:test';
import { type EvalSummary, evaluate, train } from '../../src/index.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { openTinker } from '../../src/policy/tinker/client.js';
import { runTimes } from '../../src/policy/tinker/connection.js';
import { findTinkerModel, tinkerPolicy } from '../../src/policy/tinker/policy.js';
import { temporaryFolder as folderForAll } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';
import { type RealServer, startServer } from '../helpers/real-server.js';
import { assertSameUpdates, promptIds, trainingOf } from '../helpers/tinker/updates.js';
import { widenHeads } from '../helpers/widened.js';

const python = process.env.TINYZERO_TX_PYTHON;
assert.ok(python, 'TINYZERO_TX_PYTHON names no Python; use `npm run test:engines -- tinker`');

/** The server starts its engine with `uv run`, which would download everything again. */
const uv = `#!/bin/sh
while [ $# -gt 0 ] && [ "$1" != -m ]; do shift; done
exec "${python}" "$@"
`;

/** All that the server uses of peft, which would bring torch. */
const peft = `import json, os
class LoraConfig:
    def __init__(self, **kw): self.kw = kw
    def save_pretrained(self, folder):
        d = {"peft_type": "LORA", "bias": "none", "lora_dropout": 0.0, "inference_mode": True, "target_modules":
             ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], **self.kw}
        with open(os.path.join(folder, "adapter_config.json"), "w") as f: json.dump(d, f, default=str, indent=2)
`;

const rank = 8;
let tx: RealServer | undefined;
let model: string;
let database: string | undefined;

before(async () => {
  const folder = folderForAll('tinker');
  model = join(folder, 'twin');
  await widenHeads('models/tiny', model, { biases: false });
  const [bin, stub] = [join(folder, 'bin'), join(folder, 'stub')];
  for (const made of [bin, stub]) mkdirSync(made);
  writeFileSync(join(bin, 'uv'), uv);
  chmodSync(join(bin, 'uv'), 0o755);
  writeFileSync(join(stub, 'peft.py'), peft);
  // In memory: a commit that waits for a busy disk locks it for others, and after 5 s of that the server's engine ends.
  database = mkdtempSync('/dev/shm/tinyzero-tx-');
  const backend = {
    max_lora_adapters: 4,
    max_lora_rank: rank,
    train_micro_batch_size: 32,
    sample_max_num_sequences: 64,
  };
  tx = await startServer({
    command: python,
    args: (port) => [
      ...['-m', 'tx.tinker.api', '--host', '127.0.0.1', '--port', String(port), '--base-model', model],
      ...['--database-url', `sqlite:///${join(database!, 'tx.db')}`],
      ...['--checkpoints-base', join(folder, 'checkpoints'), '--backend-config', JSON.stringify(backend)],
    ],
    env: {
      PATH: `${bin}${delimiter}${process.env.PATH}`,
      PYTHONPATH: stub,
      JAX_PLATFORMS: 'cpu',
      // The server compiles the optimiser's step again for every adapter.
      JAX_COMPILATION_CACHE_DIR: join(folder, 'compiled'),
      JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS: '0',
      JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES: '0',
      HF_HUB_OFFLINE: '1',
    },
    health: '/api/v1/healthz',
    startSeconds: 1200,
  });
});

after(async () => {
  await tx?.stop();
  if (database !== undefined) rmSync(database, { recursive: true });
});

test('two updates on it are those of this machine', async (t) => {
  const client = await openTinker({
    url: tx!.url,
    apiKey: undefined,
    ...runTimes,
    onTrouble: (line) => t.diagnostic(line),
  });
  t.after(() => client.close());
  const remote = tinkerPolicy(client, {
    config: openPretrained(model).config,
    baseModel: await findTinkerModel(client, model),
    training: trainingOf(rank),
    probeIds: promptIds,
    onNote: (line) => t.diagnostic(line),
  });
  t.after(() => remote.dispose());
  await assertSameUpdates(t, remote, { folder: model, rank, engine: 'wasm' });
});

test('a run on it learns, and its adapter is the trained model on this machine too', async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  const problems = { numTrain: 48, evalSamples: 16, install: false } as const;
  const {
    before: first,
    after: last,
    compare,
  } = await train({
    ...{ ...problems, model, tinkerUrl: tx!.url, folder, seed: 1, loraRank: rank, lr: 3e-3 },
    ...{ numSamples: 4, batchSize: 16, maxSteps: 8, evalEvery: 0 },
  });
  const shown = ({ greedy, sampled }: EvalSummary) => `greedy ${greedy.exact.rate}, sampled ${sampled!.exact.rate}`;
  t.diagnostic(`held out: ${shown(first)} before, ${shown(last)} after`);
  const { difference, pValue } = compare.sampled!;
  assert.ok(difference > 0.15 && pValue < 0.05, `${difference}, p = ${pValue}`);
  const here = await evaluate({ ...problems, model: join(folder, 'final') });
  const answers = ({ perProblem }: EvalSummary) => perProblem.map(({ greedy }) => greedy.completion);
  const same = answers(here).filter((answer, i) => answer === answers(last)[i]).length;
  // Servers round otherwise, which may one day choose another token.
  t.diagnostic(`${same} of 20 greedy answers are the same here`);
  assert.ok(same >= 18, `${same} of 20 greedy answers are the same here`);
});
