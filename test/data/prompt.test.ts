import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeForm, promptInput } from '../../src/data/prompt.js';

const examples = [{ question: 'Question: 1 + 1?\nAnswer:', solution: '2' }];
const system = 'Be brief.';

test('a question alone is itself, or the one message of a user', () => {
  assert.deepEqual(promptInput('Q', { style: 'raw' }), { text: 'Q' });
  assert.deepEqual(promptInput('Q', { style: 'chat' }), { messages: [{ role: 'user', content: 'Q' }] });
});

test('system message and examples come first, as paragraphs or as messages', () => {
  assert.deepEqual(promptInput('Question: 2 + 2?\nAnswer:', { style: 'raw', system, examples }), {
    text: 'Be brief.\n\nQuestion: 1 + 1?\nAnswer: 2\n\nQuestion: 2 + 2?\nAnswer:',
  });
  assert.deepEqual(promptInput('Q', { style: 'chat', system, examples }), {
    messages: [
      { role: 'system', content: system },
      { role: 'user', content: examples[0]!.question },
      { role: 'assistant', content: '2' },
      { role: 'user', content: 'Q' },
    ],
  });
});

test('a conversation keeps its own system message, and examples follow it', () => {
  const own = [
    { role: 'system', content: 'Mine.' },
    { role: 'user', content: 'Q' },
  ] as const;
  assert.deepEqual(promptInput(own, { style: 'chat', system, examples }), {
    messages: [own[0], { role: 'user', content: examples[0]!.question }, { role: 'assistant', content: '2' }, own[1]],
  });
  assert.deepEqual(promptInput(own, { style: 'raw' }), { text: 'Mine.\n\nQ' });
});

test('a fingerprint covers everything around a question', () => {
  const forms = [
    { style: 'raw' },
    { style: 'chat' },
    { style: 'chat', system: '' },
    { style: 'chat', system },
    { style: 'chat', examples },
    { style: 'chat', system, examples },
  ] as const;
  assert.equal(new Set(forms.map(describeForm)).size, forms.length);
  assert.equal(describeForm({ style: 'raw' }), 'raw', 'as it was before there were system messages and examples');
});
