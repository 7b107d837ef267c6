import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Pair, splitProducts } from '../../src/data/multiplication.js';
import {
  type CorpusPhase,
  type CorpusRow,
  corpusBatch,
  corpusPhases,
  maxRowTokens,
  shippedCorpora,
} from '../../src/pretrain/corpus.js';
import { decode, encode, eosId } from '../../src/pretrain/vocabulary.js';

const { seed, heldOut } = shippedCorpora.tiny;
const rowsOf = (phase: CorpusPhase, steps: number): CorpusRow[] =>
  Array.from({ length: steps }, (_, step) => corpusBatch(seed, phase, step, heldOut)).flat();
const [tables, wider] = corpusPhases as [CorpusPhase, CorpusPhase];

/** Arithmetic statements of a text: [left, sign, right, result] as numbers. */
const statements = (text: string) =>
  [...text.matchAll(/(\d+)([×+])(\d+)=(\d+)/g)].map(([, left, sign, right, result]) => ({
    exact: sign === '×' ? Number(left) * Number(right) : Number(left) + Number(right),
    result: Number(result),
  }));
const near = (actual: number, expected: number, tolerance: number, what: string) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what}: ${actual}, not ${expected} ± ${tolerance}`);

for (const [name, corpus] of Object.entries(shippedCorpora)) {
  test(`no line of models/${name}'s corpus asks or states a held-out product`, () => {
    const held = new Set(
      splitProducts(2, 12, corpus.heldOut as readonly Pair[]).heldOut.map(({ a, b }) => `${a}×${b}`),
    );
    const asked = new Set<string>();
    let lines = 0;
    for (const phase of corpusPhases) {
      for (let step = 0; step < phase.steps; step++) {
        for (const { text } of corpusBatch(corpus.seed, phase, step, corpus.heldOut)) {
          lines++;
          for (const [, a, b] of text.matchAll(/(\d+) ?× ?(\d+)/g)) {
            assert.ok(!held.has(`${a}×${b}`), text);
            asked.add(`${a}×${b}`);
          }
        }
      }
    }
    assert.equal(lines, (1500 + 620) * 128);
    // The scan sees products: every other one of 2..12 was asked or stated.
    for (let a = 2; a <= 12; a++) {
      for (let b = 2; b <= 12; b++) assert.equal(asked.has(`${a}×${b}`), !held.has(`${a}×${b}`), `${a}×${b}`);
    }
  });
}

test('rows are a function of seed, phase and step', () => {
  const batch = corpusBatch(1, tables, 3, heldOut);
  assert.deepEqual(corpusBatch(1, tables, 3, heldOut), batch);
  for (const other of [
    corpusBatch(2, tables, 3, heldOut),
    corpusBatch(1, tables, 4, heldOut),
    corpusBatch(1, wider, 3, heldOut),
  ]) {
    assert.notDeepEqual(other, batch);
  }
});

test('ids spell the text, and the loss counts completions whole and of drills the results', () => {
  for (const phase of corpusPhases) {
    for (const { text, ids, learn } of rowsOf(phase, 5)) {
      assert.deepEqual(ids, encode(text));
      assert.equal(learn.length, ids.length);
      const learned = decode(ids.map((id, i) => (learn[i] ? id : 0))).replaceAll('<pad>', '_');
      if (text.startsWith('What is ')) {
        assert.match(learned, /^_+(think: .*\. )?answer: \d+<eos>$/);
        assert.equal(ids.at(-1), eosId);
        assert.equal(learned.replaceAll('_', ''), text.slice(text.indexOf('\n') + 1));
      } else {
        assert.match(learned, /^_+\d+, _+\d+, _+\d+, _+\d+$/);
      }
    }
  }
});

test('a careful answer works in the steps of its factor', () => {
  const careful = new Map(
    rowsOf(tables, 200).flatMap(({ text }) => (text.includes('think') ? [text.split('\n') as [string, string]] : [])),
  );
  assert.ok(careful.size > 90);
  for (const [question, answer] of careful) {
    const [, a, sign, b] = /^What is (\d+) ([×+]) (\d+)\?$/.exec(question)!;
    const shape = answer
      .replace(/=\d+/g, '=N')
      .replace(/\d+\+\d+/, 'N+N')
      .replace(/answer: \d+/, 'answer: N');
    if (sign === '+') assert.equal(shape, 'think: N+N=N. answer: N<eos>');
    else if ([2, 3, 4, 5, 10].includes(Number(b))) assert.equal(shape, `think: ${a}×${b}=N. answer: N<eos>`);
    else {
      const base = Number(b) > 10 ? 10 : 5;
      assert.equal(shape, `think: ${a}×${base}=N, ${a}×${Number(b) - base}=N, N+N=N. answer: N<eos>`);
    }
    // The answer is the last result, and the sum adds the results before it, right or wrong.
    const results = [...answer.matchAll(/=(\d+)/g)].map((match) => match[1]);
    assert.ok(answer.endsWith(`answer: ${results.at(-1)}<eos>`), answer);
    if (results.length === 3) assert.ok(answer.includes(`${results[0]}+${results[1]}=`), answer);
    assert.ok(statements(answer).filter(({ exact, result }) => exact !== result).length <= 1, answer);
  }
});

test('shares and error rates are those of the recipe', () => {
  for (const phase of corpusPhases) {
    const rows = rowsOf(phase, 200).map((row) => row.text); // 25,600 rows: one standard error is at most 0.0031
    const questions = rows.filter((text) => text.startsWith('What is '));
    const products = questions.filter((text) => text.includes(' × '));
    near(1 - questions.length / rows.length, phase.drillShare, 0.0125, 'drills');
    near((questions.length - products.length) / rows.length, 0.03, 0.0045, 'sums');
    const careful = products.filter((text) => text.includes('think'));
    const n = products.length;
    near(careful.length / n, 0.4, 0.017, 'careful');
    const wrong = careful.filter((text) => statements(text).some(({ exact, result }) => exact !== result));
    near(wrong.length / careful.length, 0.15, 0.02, 'slips');
    const right = products.filter((text) => {
      const [, a, b, answer] = /^What is (\d+) × (\d+)\?\nanswer: (\d+)/.exec(text) ?? [];
      return Number(a) * Number(b) === Number(answer);
    });
    near(right.length / (n - careful.length), 0.1, 0.014, 'lucky guesses');
    near(products.filter((text) => Number(text.slice(8, 10)) > 12).length / n, phase.wideShare, 0.017, 'wide');
    // Every drilled result is right.
    for (const text of rows) {
      if (!text.startsWith('What')) for (const { exact, result } of statements(text)) assert.equal(result, exact, text);
    }
  }
});

test('rows are as long as stated, and every number is positive', () => {
  let longest = 0;
  for (const phase of corpusPhases) {
    for (const { ids, text } of rowsOf(phase, 100)) {
      longest = Math.max(longest, ids.length);
      assert.ok(!/\b0\b|-/.test(text), text);
    }
  }
  assert.equal(longest, maxRowTokens);
});
