/**
 * @file A real language model, on request: `TINYZERO_REAL_MODEL=FOLDER npm run test:real`. Greedy tokens and log-probs against Hugging Face
 * transformers (`TINYZERO_PYTHON` names a Python with torch and transformers), one update of all weights and of adapters, and
 * an export that is opened again.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { type LoadedModel, loadModel, type SampledText, sample, score, train } from '../../src/index.js';
import { readLog } from '../../src/run/logs.js';
import { tinyzero } from '../helpers/cli.js';
import { assertClose } from '../helpers/close.js';
import { temporaryFolder } from '../helpers/files.js';
import { runPython, withoutPython } from '../helpers/python.js';

const model = process.env.TINYZERO_REAL_MODEL ?? '';
assert.ok(model !== '', 'TINYZERO_REAL_MODEL names no folder of a model, such as SmolLM2-135M-Instruct');

const engine = { engine: 'tensorflow', install: false } as const;
const maxNewTokens = 24;
const prompts = [
  'What is 7 times 8? Reply with only the number.',
  'The capital of France is',
  'Write one sentence about the sea.',
  'Café, naïve, 12,345.67 and 東京: repeat this.',
  'def fibonacci(n):',
];

/** Log-probs of the reference differ by rounding of sums in another order. */
const rounding = 2e-3;

const reference = `
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
given = json.load(sys.stdin)
tokenizer = AutoTokenizer.from_pretrained(given["folder"])
model = AutoModelForCausalLM.from_pretrained(given["folder"], dtype=torch.float32).eval()
answers = []
with torch.no_grad():
    for row in given["rows"]:
        ids = row["promptIds"] + row["ids"]
        logits = model(torch.tensor([ids])).logits[0].float()
        logs = torch.log_softmax(logits, -1)
        at = range(len(row["promptIds"]) - 1, len(ids) - 1)
        answers.append({
            "promptIds": tokenizer(row["prompt"]).input_ids,
            "best": [int(logs[i].argmax()) for i in at],
            "bestLogProbs": [float(logs[i].max()) for i in at],
            "logProbs": [float(logs[i, ids[i + 1]]) for i in at],
        })
print(json.dumps(answers))
`;

interface Answer {
  readonly promptIds: number[];
  readonly best: number[];
  readonly bestLogProbs: number[];
  readonly logProbs: number[];
}

async function greedy(loaded: LoadedModel): Promise<SampledText[]> {
  return (await sample(loaded, prompts, { temperature: 0, maxNewTokens })).map(([only]) => only!);
}

test('greedy tokens and log-probs are those of transformers', {
  skip: withoutPython('torch', 'transformers'),
}, async () => {
  const loaded = await loadModel(model, engine);
  try {
    const texts = await greedy(loaded);
    const scored = await score(
      loaded,
      prompts.map((prompt, i) => ({ prompt, completion: texts[i]!.ids })),
    );
    const rows = prompts.map((prompt, i) => ({ prompt, promptIds: scored[i]!.promptIds, ids: texts[i]!.ids }));
    const answers = runPython(reference, { folder: model, rows }) as Answer[];
    for (const [i, answer] of answers.entries()) {
      assert.deepEqual(rows[i]!.promptIds, answer.promptIds, `token ids of prompt ${i}`);
      assertClose(`log-probs ${i}`, scored[i]!.logProbs, answer.logProbs, { absolute: rounding });
      for (const [k, id] of rows[i]!.ids.entries()) {
        // Two tokens that are equally likely but for rounding may change places.
        const isTie = answer.bestLogProbs[k]! - answer.logProbs[k]! < rounding;
        assert.ok(id === answer.best[k] || isTie, `prompt ${i}, token ${k}: ${id}, expected ${answer.best[k]}`);
      }
    }
  } finally {
    loaded.close();
  }
});

test('int8 weights for sampling are near those of the model', async () => {
  const loaded = await loadModel(model, { ...engine, samplerWeights: 'int8' });
  try {
    const texts = (await sample(loaded, prompts, { samples: 4, maxNewTokens, seed: 1 })).flat();
    const inputs = texts.map(({ ids }, i) => ({ prompt: prompts[Math.floor(i / 4)]!, completion: ids }));
    const scored = await score(loaded, inputs);
    const differences = texts.flatMap(({ logProbs }, i) =>
      logProbs.map((logProb, k) => Math.abs(logProb - scored[i]!.logProbs[k]!)),
    );
    const mean = differences.reduce((a, b) => a + b) / differences.length;
    console.log(`mean |Δ log p| ${mean.toFixed(4)}, largest ${Math.max(...differences).toFixed(3)}`);
    assert.ok(mean > 0 && mean < 0.25, String(mean));
  } finally {
    loaded.close();
  }
});

for (const loraRank of [undefined, 8]) {
  test(`one update of ${loraRank === undefined ? 'all weights' : 'adapters'} has a finite loss`, async (t) => {
    const folder = join(temporaryFolder(t), 'run');
    await train({
      ...{ ...engine, model, folder, wording: 'number', numTrain: 6, numTest: 2, evalSamples: 1, evalEvery: 0 },
      ...{ numSamples: 2, batchSize: 4, maxNewTokens: 16, epochs: 1, maxSteps: 1, saveEvery: 0, trainOn: 'all' },
      ...{ force: true, seed: 3, ...(loraRank && { loraRank }) },
    });
    const [metrics] = [...readLog(join(folder, 'metrics.jsonl'))] as Record<string, number>[];
    assert.ok(Number.isFinite(metrics!.loss) && Number.isFinite(metrics!.gradientNorm), JSON.stringify(metrics));
    assert.ok(metrics!.samplerDifference! < 1e-2);
  });
}

test('an export opened again gives the same tokens and log-probs', async (t) => {
  const out = join(temporaryFolder(t), 'export');
  const { code, stdout, stderr } = await tinyzero([
    'export',
    model,
    '--to',
    'gguf',
    '--dtype',
    'f32',
    '--out',
    out,
    '--json',
  ]);
  assert.equal(code, 0, stderr);
  const file = /"([^"]+\.gguf)"/.exec(stdout)?.[1];
  assert.ok(file, stdout);
  const answers: SampledText[][] = [];
  for (const name of [model, file]) {
    const loaded = await loadModel(name, engine);
    answers.push(await greedy(loaded));
    loaded.close();
  }
  const [original, exported] = answers as [SampledText[], SampledText[]];
  for (const [i, { ids, logProbs }] of original.entries()) {
    assert.deepEqual(exported[i]!.ids, ids, prompts[i]);
    assertClose(`log-probs ${i}`, exported[i]!.logProbs, logProbs, { absolute: rounding });
  }
});
