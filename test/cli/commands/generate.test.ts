/** `generate` and `score` as a user runs them, in processes of their own, on both engines. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cliPath, merge, tinyzero } from '../../helpers/cli.js';
import { changeJson, copyOfModel, fixture, readFixture, temporaryFolder } from '../../helpers/files.js';
import { nativeTest } from '../../helpers/native.js';

interface Generated {
  readonly prompt: string | number[];
  readonly promptIds: number[];
  readonly completions: { ids: number[]; text: string; logProbs: number[]; finishReason: 'stop' | 'length' }[];
}

interface Scored {
  readonly promptIds: number[];
  readonly completionIds: number[];
  readonly logProbs: number[];
  readonly sum: number;
}

const qwen2 = fixture('qwen2-tied-f32');
const lines = (values: readonly unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');

/** Runs a command that must succeed; standard output must hold one JSON object a line. */
async function json<T>(args: readonly string[], input = ''): Promise<T[]> {
  const { code, stdout, stderr } = await tinyzero(args, {}, input);
  assert.equal(code, 0, stderr);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

for (const engine of ['tensorflow', 'wasm']) {
  const engineTest = (name: string, run: () => Promise<void>) =>
    (engine === 'tensorflow' ? nativeTest : test)(`${name} (${engine})`, run);
  const generate = (...args: string[]) => ['generate', '--engine', engine, ...args];
  const score = (...args: string[]) => ['score', '--engine', engine, ...args];

  engineTest('generate --json: one object per prompt, whose log-probs score reproduces', async () => {
    const args = ['--model', qwen2, '--max-new-tokens', '12', '--temperature', '1.2', '--top-p', '1', '--top-k', '0'];
    const prompts = ['What is 7 × 12?', [5, 6, 7], 'What is 7 × 12?', 'Why?'];
    const input = lines(prompts.map((prompt) => ({ prompt })));
    const results = await json<Generated>(generate(...args, '--samples', '3', '--json', '--input', '-'), input);
    assert.deepEqual(
      results.map(({ prompt }) => prompt),
      prompts,
    );
    assert.deepEqual(results[1]?.promptIds, [5, 6, 7]);
    for (const { completions, promptIds, ...rest } of results) {
      assert.deepEqual(Object.keys(rest), ['prompt']);
      assert.ok(promptIds.length > 0);
      assert.equal(completions.length, 3);
      for (const { ids, text, logProbs, finishReason, ...more } of completions) {
        assert.deepEqual(more, {});
        assert.equal(typeof text, 'string');
        assert.equal(logProbs.length, ids.length);
        assert.ok(ids.length === 12 || finishReason === 'stop');
      }
    }
    // The prompt that is given twice gets six different samples.
    const twice = [results[0], results[2]].flatMap((result) => result?.completions.map(({ ids }) => ids.join()) ?? []);
    assert.equal(new Set(twice).size, 6);

    const again = await json<Generated>(
      generate(...args, '--samples', '3', '--json', '--input', '-'),
      lines([{ prompt: 'Why?' }, { prompt: [5, 6, 7] }]),
    );
    assert.deepEqual(
      again.map(({ completions }) => completions.map(({ ids }) => ids)),
      [results[3], results[1]].map((result) => result?.completions.map(({ ids }) => ids)),
      'completions do not depend on what else is in the file, nor on its order',
    );

    const rows = results.flatMap(({ promptIds, completions }) =>
      completions.map(({ ids, logProbs }) => ({ prompt: promptIds, completion: ids, logProbs })),
    );
    const scores = await json<Scored>(score('--model', qwen2, '--temperature', '1.2', '--input', '-'), lines(rows));
    assert.equal(scores.length, rows.length);
    scores.forEach(({ promptIds, completionIds, logProbs, sum, ...more }, index) => {
      const row = rows[index];
      assert.deepEqual(more, {});
      assert.deepEqual([promptIds, completionIds], [row?.prompt, row?.completion]);
      assertClose(logProbs, row?.logProbs ?? []);
      assertClose([sum], [logProbs.reduce((a, b) => a + b, 0)]);
    });
  });

  engineTest('generate streams the completion, gives several a title, and reports the sampling', async () => {
    const args = generate('--model', qwen2, '--prompt', 'Hello', '--max-new-tokens', '30', '--seed', '4');
    const [whole] = await json<Generated>([...args, '--json']);
    const streamed = await tinyzero(args);
    assert.equal(streamed.code, 0, streamed.stderr);
    const text = whole?.completions[0]?.text ?? '';
    assert.equal(streamed.stdout, text.endsWith('\n') ? text : `${text}\n`);
    assert.match(streamed.stderr, /Sampling: temperature 0\.7, top-p 0\.8, top-k 20 \(.*generation_config\.json\)\./);
    assert.match(streamed.stderr, /repetition_penalty, which tinyzero does not support/);
    assert.match(streamed.stderr, new RegExp(`Engine: ${engine} `));
    assert.match(streamed.stderr, /\d+ tokens in [\d.]+ s, [\d.]+ a second/);

    const several = await tinyzero([...args, '--samples', '2', '--temperature', '1']);
    assert.match(several.stdout, /^--- sample 1 ---\n[\s\S]*\n--- sample 2 ---\n/);
    assert.match(several.stderr, /Sampling: temperature 1, top-p 0\.8/);
  });

  engineTest('score gives the log-probs of the reference, at both of its temperatures', async () => {
    const model = 'qwen2-untied-bf16';
    const { prompts } = readFixture(model, 'expected.json');
    const rows = prompts.map((each: { prompt: string; continuation: string }) => {
      return { prompt: each.prompt, completion: each.continuation, eos: true };
    });
    for (const temperature of [1, 0.7]) {
      const args = score('--model', fixture(model), '--temperature', `${temperature}`, '--input', '-');
      const scores = await json<Scored>(args, lines(rows));
      prompts.forEach((expected: Record<string, number[]>, index: number) => {
        assert.deepEqual(scores[index]?.promptIds, expected.ids);
        assert.deepEqual(scores[index]?.completionIds, expected.continuation_ids);
        assertClose(scores[index]?.logProbs ?? [], expected[`logp_temperature_${temperature}`]!);
      });
    }
  });
}

test('generate --temperature 0 is the greedy continuation of the reference, up to an end token', async () => {
  const { greedy } = readFixture('llama', 'expected.json');
  const { eos_token_id: eos } = readFixture('llama', 'generation_config.json');
  const input = lines(greedy.prompt_ids.map((prompt: number[]) => ({ prompt })));
  const args = ['generate', '--engine', 'wasm', '--model', fixture('llama'), '--temperature', '0', '--json'];
  const results = await json<Generated>([...args, '--input', '-', '--max-new-tokens', `${greedy.new_tokens}`], input);
  results.forEach(({ completions }, index) => {
    const ids: number[] = greedy.ids[index];
    assert.deepEqual(completions[0]?.ids, ids.includes(eos) ? ids.slice(0, ids.indexOf(eos) + 1) : ids);
  });
});

test('a completion ends at each of several end tokens, of generation_config.json or of config.json', async (t) => {
  const { greedy } = readFixture('llama', 'expected.json');
  const prompt: number[] = greedy.prompt_ids[0];
  const ids: number[] = greedy.ids[0];
  // Two tokens of the reference's continuation, in the order of their first places.
  const [early, late] = [ids[3]!, ids.find((id, place) => place > 3 && ids.indexOf(id) === place)!];
  const endOf = (...ends: number[]) => Math.min(...ends.map((end) => ids.indexOf(end)).filter((place) => place >= 0));
  const folder = copyOfModel(t, 'llama');
  const args = ['generate', '--engine', 'wasm', '--model', folder, '--temperature', '0', '--json', '--input', '-'];
  for (const [file, ends] of [
    ['generation_config.json', [late, early]],
    ['generation_config.json', [410, late]],
    ['config.json', [early, late]],
  ] as const) {
    rmSync(join(folder, 'generation_config.json'), { force: true });
    if (file === 'config.json') changeJson(join(folder, file), { eos_token_id: ends });
    else writeFileSync(join(folder, file), JSON.stringify({ eos_token_id: ends }));
    const [result] = await json<Generated>([...args, '--max-new-tokens', `${ids.length}`], lines([{ prompt }]));
    const [completion] = result!.completions;
    assert.deepEqual(completion!.ids, ids.slice(0, endOf(...ends) + 1), `${ends} in ${file}`);
    assert.equal(completion!.finishReason, 'stop');
  }
});

test('on a terminal the time taken has a line of its own after the text', async () => {
  const command = `exec "$0" "$@" 2>&1`;
  const args = ['generate', '--engine', 'wasm', '--prompt', 'What is 7 × 8?'];
  const child = spawn('sh', ['-c', command, process.execPath, cliPath, ...args], { env: merge({}) });
  let both = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    both += text;
  });
  assert.equal(await new Promise((resolve) => child.on('close', resolve)), 0);
  assert.match(both, /answer: \d+\n\d+ tokens in [\d.]+ s, [\d.]+ a second\.\n$/);
});

test('--chat puts the prompt into the chat template, --prompt - reads it from standard input', async () => {
  const { chat } = readFixture('llama', 'expected.json');
  const text = chat.messages[0].content;
  const args = ['generate', '--engine', 'wasm', '--model', fixture('llama'), '--max-new-tokens', '1', '--json'];
  for (const flags of [['--chat'], ['--prompt-style', 'chat']]) {
    const [result] = await json<Generated>([...args, ...flags, '--prompt', '-'], text);
    assert.equal(result?.prompt, text);
    assert.deepEqual(result?.promptIds, chat.ids);
  }
  const [raw] = await json<Generated>([...args, '--prompt', text]);
  assert.notDeepEqual(raw?.promptIds, chat.ids);
});

test('a long prompt leaves room for what the model can still hold', async (t) => {
  const folder = copyOfModel(t, 'qwen2-tied-f32');
  changeJson(join(folder, 'config.json'), { max_position_embeddings: 20 });
  const input = lines([1, 15, 20].map((length) => ({ prompt: new Array(length).fill(7) })));
  const args = ['generate', '--engine', 'wasm', '--model', folder, '--input', '-', '--json', '--temperature', '1'];
  changeJson(join(folder, 'generation_config.json'), { eos_token_id: 511 });
  const results = await json<Generated>(args, input);
  // Positions 0 to 19 predict one token each.
  const lengths = results.map(({ completions }) => completions[0]?.ids.length);
  assert.deepEqual(lengths, [20, 6, 1]);
});

test('Ctrl-C stops generating with exit code 130', async () => {
  const args = ['generate', '--engine', 'wasm', '--model', qwen2, '--prompt', 'a', '--max-new-tokens', '2000'];
  const child = spawn(process.execPath, [cliPath, ...args, '--temperature', '1', '--samples', '8'], { env: merge({}) });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdout.once('data', () => child.kill('SIGINT'));
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(code, 130);
  assert.match(stderr, /tinyzero: Stopped\.\n$/);
});

test('a closed pipe ends generating quietly', async () => {
  const args = ['generate', '--engine', 'wasm', '--model', qwen2, '--prompt', 'a', '--max-new-tokens', '2000'];
  const child = spawn(process.execPath, [cliPath, ...args, '--temperature', '1', '--samples', '8'], { env: merge({}) });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdout.once('data', () => child.stdout.destroy());
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(code, 0);
  assert.doesNotMatch(stderr, /bug|EPIPE/);
});

/** Every case: what is wrong, the arguments, the exit code, what the one paragraph says; and standard input. */
const badInput: [name: string, args: string[], code: number, message: RegExp, input?: string][] = [
  ['no prompt', ['generate', '--model', qwen2], 2, /--prompt or --input is missing/],
  ['two prompts', ['generate', '--model', qwen2, '--prompt', 'a', '--input', 'b'], 2, /cannot be combined/],
  ['an empty prompt', ['generate', '--model', qwen2, '--prompt', ''], 2, /--prompt: expected a text/],
  ['empty standard input', ['generate', '--model', qwen2, '--prompt', '-'], 1, /Standard input.*prompt is empty/],
  ['no samples', ['generate', '--model', qwen2, '--prompt', 'a', '--samples', '0'], 2, /--samples.*at least 1/],
  [
    'numbers out of range',
    ['generate', '--model', qwen2, '--prompt', 'a', '--top-p', '0', '--temperature', '-1', '--top-k', '1.5'],
    2,
    /--temperature: .*at least 0[\s\S]*--top-p: .*above 0, at most 1[\s\S]*--top-k: .*whole number/,
  ],
  [
    'greedy samples',
    ['generate', '--model', qwen2, '--prompt', 'a', '--samples', '2', '--temperature', '0'],
    2,
    /the same completion every time/,
  ],
  ['no such model', ['generate', '--model', '/nowhere', '--prompt', 'a'], 1, /There is no model "\/nowhere"/],
  [
    'a prompt longer than the model',
    ['generate', '--model', qwen2, '--prompt', 'a b '.repeat(1100)],
    1,
    /has \d+ tokens, and the model's limit is 2048/,
  ],
  [
    'bf16 without tensorflow',
    ['generate', '--model', qwen2, '--prompt', 'a', '--engine', 'wasm', '--precision', 'bf16'],
    2,
    /needs the tensorflow or webgpu engine/,
  ],
  ['a missing file', ['score', '--model', qwen2, '--input', '/nowhere'], 1, /Cannot read \/nowhere: no such/],
  ['a folder for a file', ['score', '--model', qwen2, '--input', qwen2], 1, /it is a folder/],
  ['no lines', ['score', '--model', qwen2, '--input', '-'], 1, /Standard input is empty/, '\n \n'],
  ['broken JSON', ['score', '--model', qwen2, '--input', '-'], 1, /Line 2 of standard input is not JSON/, '\n{"a"'],
  ['no object', ['score', '--model', qwen2, '--input', '-'], 1, /Line 1 of standard input is not a JSON obj/, '[1]'],
  [
    'no prompt in a line',
    ['score', '--model', qwen2, '--input', '-'],
    1,
    /`prompt` must be a string or/,
    '{"promt":"a"}',
  ],
  [
    'no completion in a line',
    ['score', '--model', qwen2, '--input', '-'],
    1,
    /`completion` must be a string or/,
    '{"prompt":"a"}',
  ],
  [
    'an unknown token id',
    ['score', '--model', qwen2, '--input', '-'],
    1,
    /`completion` contains 512, which is not a token id below 512/,
    '{"prompt":[0],"completion":[1,512]}',
  ],
  [
    'a line longer than the model',
    ['score', '--model', qwen2, '--input', '-'],
    1,
    /prompt and completion has 2049 tokens/,
    lines([{ prompt: new Array(2000).fill(1), completion: new Array(49).fill(1) }]),
  ],
  [
    'a strange eos',
    ['score', '--model', qwen2, '--input', '-'],
    1,
    /`eos` of line 1 of standard input must be true or false/,
    '{"prompt":"a","completion":"b","eos":1}',
  ],
  ['greedy scores', ['score', '--model', qwen2, '--input', '-', '--temperature', '0'], 2, /must be above 0/],
];

for (const [name, args, code, message, input] of badInput) {
  test(`bad input is explained in one paragraph: ${name}`, () => assertFails(args, code, message, input));
}

test('bad models are explained in one paragraph', async (t) => {
  const folder = copyOfModel(t, 'qwen2-tied-f32');
  const args = ['generate', '--engine', 'wasm', '--model', folder, '--prompt', 'a'];
  changeJson(join(folder, 'config.json'), { vocab_size: 300, bos_token_id: 1, eos_token_id: 1 });
  changeJson(join(folder, 'generation_config.json'), { eos_token_id: 1, bos_token_id: 1 });
  await assertFails(args, 1, /weights in .* do not fit its config\.json/);
  writeFileSync(join(folder, 'generation_config.json'), '{"eos_token_id": ');
  await assertFails(args, 1, /generation_config\.json is not valid JSON/);
  const other = copyOfModel(t, 'llama');
  const otherArgs = ['score', '--engine', 'wasm', '--model', other, '--input', '-'];
  rmSync(join(other, 'tokenizer.json'));
  await assertFails(otherArgs, 1, /has no tokenizer\.json/);
  changeJson(join(other, 'config.json'), { rope_scaling: { rope_type: 'spiral' } });
  await assertFails(otherArgs, 1, /spiral/);
  changeJson(join(other, 'config.json'), { model_type: 'gpt2' });
  await assertFails(otherArgs, 1, /`model_type` must be .*, not "gpt2"/);
  const empty = temporaryFolder(t);
  await assertFails(['score', '--model', empty, '--input', '-'], 1, /has no config\.json/);
});

test('a tokenizer with more ids than the model is rejected', async (t) => {
  const folder = copyOfModel(t, 'qwen2-tied-f32');
  const tokenizer = readFixture('qwen2-tied-f32', 'tokenizer.json');
  const added = { ...tokenizer.added_tokens.at(-1), id: 600, content: '<|extra|>' };
  changeJson(join(folder, 'tokenizer.json'), { added_tokens: [...tokenizer.added_tokens, added] });
  const args = ['generate', '--engine', 'wasm', '--model', folder, '--prompt', 'a'];
  await assertFails(args, 1, /tokenizer in .* does not fit its model.*below `vocab_size` \(512\).*ids up to 600/);
});

async function assertFails(args: readonly string[], code: number, message: RegExp, input = ''): Promise<void> {
  const result = await tinyzero(args, {}, input);
  assert.equal(result.code, code, result.stderr);
  assert.match(result.stderr, message);
  assert.doesNotMatch(result.stderr, /\n\s+at |bug in tinyzero/);
  assert.equal(result.stdout, '');
}

function assertClose(actual: readonly number[], expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  actual.forEach((value, index) => {
    assert.ok(Math.abs(value - expected[index]!) < 1e-4, `${value} instead of ${expected[index]}`);
  });
}
