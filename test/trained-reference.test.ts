/** A trained model in Hugging Face transformers: the same log-probs. Skipped where no Python has it (helpers/python.ts). */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadModel, sample, score, train } from '../src/index.js';
import { temporaryFolder } from './helpers/files.js';
import { runPython, withoutPython } from './helpers/python.js';

/** Log-prob of every completion token, by the model of the folder, one row at a time. */
const script = `
import json, sys, torch
from transformers import AutoModelForCausalLM
request = json.load(sys.stdin)
model = AutoModelForCausalLM.from_pretrained(request["folder"], dtype=torch.float32).eval()
answer = []
with torch.no_grad():
    for row in request["rows"]:
        prompt, completion = row["promptIds"], row["completionIds"]
        logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        answer.append(torch.log_softmax(logits, -1)[range(len(completion)), completion].tolist())
print(json.dumps(answer))
`;

test('transformers gives the completions of a trained model the same log-probs', {
  skip: withoutPython('torch', 'transformers'),
}, async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  const common = { engine: 'wasm', install: false } as const;
  const work = { numTrain: 8, numTest: 2, epochs: 1, batchSize: 4, numSamples: 2, maxNewTokens: 40, evalSamples: 0 };
  // A learning rate at which two updates move the weights visibly.
  await train({ ...common, ...work, folder, trainOn: 'all', lr: 1e-3 });
  const before = await loadModel('builtin', common);
  const after = await loadModel(join(folder, 'final'), common);
  try {
    const prompts = ['What is 7 × 12?\n', 'What is 9 × 4?\n'];
    const completions = await sample(after, prompts, { samples: 2, maxNewTokens: 40 });
    const inputs = completions.flatMap((group, i) =>
      group.map(({ ids }) => ({ prompt: prompts[i]!, completion: ids })),
    );
    const rows = await score(after, inputs);
    const reference = runPython(script, { folder: join(folder, 'final'), rows }) as number[][];
    rows.forEach(({ logProbs }, i) => {
      logProbs.forEach((logProb, at) => {
        assert.ok(Math.abs(logProb - reference[i]![at]!) < 1e-4, `${logProb} and ${reference[i]![at]}`);
      });
    });
    // The weights compared are trained ones: the model from before gives other numbers.
    const untrained = await score(before, inputs);
    assert.ok(untrained.some(({ sum }, i) => Math.abs(sum - rows[i]!.sum) > 1e-3));
  } finally {
    before.close();
    after.close();
  }
});
