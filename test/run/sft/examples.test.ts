/** Lines become the tokens that a model meets and writes when it is sampled; lines that are alike stay on one side. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPretrained } from '../../../src/model/checkpoint/pretrained.js';
import { loadTokenizer } from '../../../src/model/checkpoint/tokenizer.js';
import { type ExampleReader, readExamples } from '../../../src/run/sft/examples.js';
import { assertUserError } from '../../helpers/errors.js';
import { fixture } from '../../helpers/files.js';

const readerOf = (name: string, more: Partial<ExampleReader> = {}): ExampleReader => ({
  tokenizer: loadTokenizer(fixture(name)),
  pretrained: openPretrained(fixture(name)),
  promptStyle: 'raw',
  system: undefined,
  ...more,
});
const chat = readerOf('llama', { promptStyle: 'chat' });
const raw = readerOf('llama');

const read = (reader: ExampleReader, lines: readonly object[], share = 0, seed = 1) =>
  readExamples('data.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'), reader, { share, seed });

const user = (content: string) => ({ role: 'user', content }) as const;
const assistant = (content: string) => ({ role: 'assistant', content }) as const;

test("messages have the tokens of the template's own rendering, up to the end token", () => {
  const conversation = [
    { role: 'system', content: 'Be brief.' } as const,
    user('What is 7 × 8?'),
    assistant('56'),
    user('And twice that?'),
    assistant(' 112, of course.'),
  ];
  const { train } = read(chat, [{ messages: conversation }]);
  assert.equal(train.length, 2, 'a row for each turn of the assistant');
  const { tokenizer } = chat;
  for (const [row, turns] of [
    [train[0]!, 3],
    [train[1]!, 5],
  ] as const) {
    const whole = tokenizer.encodeChat(conversation.slice(0, turns), { addGenerationPrompt: false });
    const ids = [...row.promptIds, ...row.completionIds];
    assert.deepEqual(ids, whole.slice(0, ids.length));
    assert.equal(tokenizer.decode(whole.slice(ids.length)).trim(), '', 'nothing but the line break is left out');
    assert.deepEqual(row.promptIds, tokenizer.encodeChat(conversation.slice(0, turns - 1)));
    assert.equal(row.completionIds.at(-1), tokenizer.eosTokenId);
    assert.equal(row.completionIds.filter((id) => id === tokenizer.eosTokenId).length, 1);
  }
});

test('prompt and completion become a conversation in chat style and plain text in raw style; ids are unchanged', () => {
  const line = { prompt: 'What is 7 × 8?', completion: '56' };
  const asMessages = { messages: [user(line.prompt), assistant(line.completion)] };
  assert.deepEqual(read(chat, [line]).train, read(chat, [asMessages]).train);
  const { tokenizer } = raw;
  const end = tokenizer.eosTokenId!;
  assert.deepEqual(read(raw, [line]).train, [
    { promptIds: tokenizer.encode(line.prompt), completionIds: [...tokenizer.encode('56'), end] },
  ]);
  assert.deepEqual(read(raw, [{ prompt: [5, 6], completion: [7, end] }]).train, [
    { promptIds: [5, 6], completionIds: [7, end] },
  ]);
  const withSystem = read({ ...chat, system: 'Be brief.' }, [line]).train[0]!;
  const expected = tokenizer.encodeChat([{ role: 'system', content: 'Be brief.' }, user(line.prompt)]);
  assert.deepEqual(withSystem.promptIds, expected);
});

test('held-out lines: the requested share, no prompt that is trained on, chosen by the seed', () => {
  const lines = Array.from({ length: 60 }, (_, i) => ({ prompt: `Q${i % 30}`, completion: `A${i}` }));
  const { train, heldOut, lines: count } = read(raw, lines, 0.2);
  assert.deepEqual(count, { train: 48, heldOut: 12 });
  const prompts = (side: typeof train) => new Set(side.map(({ promptIds }) => promptIds.join()));
  for (const prompt of prompts(heldOut)) assert.ok(!prompts(train).has(prompt));
  assert.deepEqual(read(raw, lines, 0.2).heldOut, heldOut);
  assert.notDeepEqual(read(raw, lines, 0.2, 2).heldOut, heldOut);
  assert.equal(read(raw, lines, 0).heldOut.length, 0);
  assert.equal(read(raw, [lines[0]!], 0.5).heldOut.length, 0, 'something is always left to train on');
});

test('lines that cannot be used are named, with what a good one looks like', () => {
  const bad: [line: object, reason: RegExp][] = [
    [{ prompt: 'a' }, /^Line 2 of data\.jsonl cannot be trained on: it has no `completion`.*A line looks like/],
    [{ prompt: 'a', completion: '' }, /Line 2 of data\.jsonl .*`completion` is empty/],
    [{ prompt: '', completion: 'b' }, /Line 2 of data\.jsonl .*prompt is empty/],
    [{ prompt: 'a', completion: 'b', messages: [] }, /has both `messages` and `prompt`/],
    [{ messages: [user('a')] }, /it has no assistant message/],
    [{ messages: [{ role: 'robot', content: 'a' }] }, /line 2 of data\.jsonl.*`messages\[0\]\.role`/i],
    [{ prompt: new Array(5000).fill(3), completion: [4] }, /has 500\d tokens, and the model's limit is/],
  ];
  for (const [line, reason] of bad) {
    assertUserError(() => read(raw, [{ prompt: 'a', completion: 'b' }, line]), reason);
  }
});
