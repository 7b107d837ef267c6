import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { defineTask } from '../../src/data/task.js';
import type { RolloutKit } from '../../src/policy/rollout.js';
import { chooseWording, probe } from '../../src/stage1/probe.js';
import { type Probe, readProbe, writeProbe } from '../../src/stage1/probe-file.js';
import { assertUserError } from '../helpers/errors.js';
import { temporaryFolder } from '../helpers/files.js';

const seen = (greedyExact: number, sampledExact: number): Probe => ({
  problems: 16,
  samplesPerProblem: 2,
  greedyExact,
  sampledExact,
  lastNumberRight: null,
  truncatedRate: 0,
  parseFailRate: 0,
  meanTokens: 3,
  examples: [],
});

test('the first wording with enough exact answers is chosen, and later ones are not tried', async () => {
  const tried: string[] = [];
  const choose = (rates: Record<string, Probe>) =>
    chooseWording(Object.keys(rates), async (name) => {
      tried.push(name);
      return rates[name]!;
    });
  assert.equal((await choose({ short: seen(0.5, 0.1), long: seen(1, 1) })).chosen, 'short');
  assert.deepEqual(tried, ['short']);
  assert.equal((await choose({ short: seen(0.6, 0), long: seen(0.5, 0.3) })).chosen, 'long', 'no signal in samples');
  assert.equal((await choose({ short: seen(0.4, 0.2), long: seen(0.3, 0.2) })).chosen, 'short', 'of none with enough');
  assert.equal((await choose({ short: seen(0, 0), long: seen(0, 0) })).chosen, 'short', 'of equals the first');
});

test('a probe counts exact answers, and correct last numbers anywhere in the text', async () => {
  const task = defineTask<number>({
    name: 'double',
    problems: () => [],
    prompt: (n) => `double ${n}`,
    reward: (completion, n, { finished }) => {
      const exact = finished && completion === `${2 * n}`;
      return { reward: Number(exact), exact, parsed: /^\d+$/.test(completion), parts: {} };
    },
    solution: (n) => `${2 * n}`,
  });
  // Greedy answers are right; the two samples are a right number in a sentence that was cut off, and a wrong number.
  const answers = (uniform: number, prompt: string) => {
    const n = Number(prompt.split(' ')[1]);
    return { greedy: `${2 * n}`, cut: `it is ${2 * n}`, wrong: '0' }[
      uniform === 0 ? 'greedy' : n === 3 ? 'cut' : 'wrong'
    ];
  };
  const bytes = (text: string) => [...Buffer.from(text)];
  const kit: RolloutKit<number> = {
    policy: {
      sample: async (rollouts) =>
        rollouts.map(({ promptIds, uniform }) => {
          const text = answers(uniform(), Buffer.from(promptIds).toString());
          const ids = bytes(text);
          return { ids, logProbs: ids.map(() => -1), finishReason: text.startsWith('it') ? 'length' : 'stop' };
        }),
    },
    tokenizer: { encode: bytes, decode: (ids: readonly number[]) => Buffer.from(ids).toString() } as never,
    task,
    form: { style: 'raw' },
    endIds: new Set(),
    maxNewTokens: 8,
    temperature: 1,
    seed: 0,
  };
  const problems = [3, 4].map((value) => ({ id: `double ${value}`, cluster: `${value}`, value }));
  const { examples, ...figures } = await probe(kit, problems, 2);
  assert.deepEqual(figures, {
    problems: 2,
    samplesPerProblem: 2,
    greedyExact: 1,
    sampledExact: 0,
    lastNumberRight: 0.5,
    truncatedRate: 0.5,
    parseFailRate: 0.5,
    meanTokens: (7 + 1) / 2,
  });
  assert.deepEqual(examples, [
    { problem: 'double 3', completion: 'it is 6', exact: false, parsed: false, truncated: true },
    { problem: 'double 4', completion: '0', exact: false, parsed: true, truncated: false },
  ]);
});

test('probe.json is read back unchanged, and an invalid one is rejected by its field', (t) => {
  const path = join(temporaryFolder(t), 'probe.json');
  const record = { probe: seen(0.5, 0.25), wordings: { number: seen(0.5, 0.25), steps: seen(0, 0) } };
  writeProbe(path, record);
  assert.deepEqual(readProbe(path), record);
  writeFileSync(path, readFileSync(path, 'utf8').replace('0.25', '0.75'));
  assertUserError(() => readProbe(path), /probe\.json is damaged.*Remove the file/);
  writeProbe(path, { probe: seen(1.5, 0) });
  assertUserError(() => readProbe(path), /probe\.greedyExact.*from 0 to 1, not 1\.5/);
});
