import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planRollouts } from '../../src/model/prompt-input.js';
import { assertUserError } from '../helpers/errors.js';

const plan = { samples: 1, maxNewTokens: 4, seed: 0, firstSample: 0, maxPositions: 10 };

test('too many completions for one call are rejected before any work', () => {
  assertUserError(
    () => planRollouts([[1], [2]], { ...plan, samples: 1_000_000 }),
    /1000000 samples of 2 prompts make 2000000 completions\. Expected at most 100000/,
  );
  assert.equal(planRollouts([[1], [2]], { ...plan, samples: 3 }).length, 6);
});

test('a repeated prompt gets the next samples, and the last token needs no position', () => {
  const [a, b] = planRollouts(
    [
      [1, 2],
      [1, 2],
    ],
    plan,
  );
  const [c, d] = planRollouts([[1, 2]], { ...plan, samples: 2 });
  assert.deepEqual([a!.uniform(), b!.uniform()], [c!.uniform(), d!.uniform()]);
  assert.equal(planRollouts([[1, 2, 3]], { ...plan, maxNewTokens: 100 })[0]!.maxNewTokens, 8);
});
