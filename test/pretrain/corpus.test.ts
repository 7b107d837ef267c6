import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Pair, splitProducts } from '../../src/data/multiplication.js';
import {
  type CorpusRow,
  corpusBatch,
  corpusRecipe,
  maxRowTokens,
  pupil,
  shippedCorpora,
} from '../../src/pretrain/corpus.js';
import { decode, encode, eosId } from '../../src/pretrain/vocabulary.js';

const { seed, heldOut } = shippedCorpora.tiny;
const rowsOf = (steps: number): CorpusRow[] =>
  Array.from({ length: steps }, (_, step) => corpusBatch(seed, step + 1, heldOut)).flat();
/** A plan's row ends with a result, any other question's with the end token. */
const isPlan = (text: string) => text.startsWith('What') && !text.endsWith('<eos>');

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
    for (let step = 1; step <= corpusRecipe.steps; step++) {
      for (const { text } of corpusBatch(corpus.seed, step, corpus.heldOut)) {
        lines++;
        for (const [, a, b] of text.matchAll(/(\d+) ?× ?(\d+)/g)) {
          assert.ok(!held.has(`${a}×${b}`), text);
          asked.add(`${a}×${b}`);
        }
      }
    }
    assert.equal(lines, corpusRecipe.steps * corpusRecipe.batchSize);
    // The scan sees products: every other one of 2..12 was asked or stated.
    for (let a = 2; a <= 12; a++) {
      for (let b = 2; b <= 12; b++) assert.equal(asked.has(`${a}×${b}`), !held.has(`${a}×${b}`), `${a}×${b}`);
    }
  });
}

test('rows are a function of seed and step', () => {
  const batch = corpusBatch(1, 3, heldOut);
  assert.deepEqual(corpusBatch(1, 3, heldOut), batch);
  for (const other of [corpusBatch(2, 3, heldOut), corpusBatch(1, 4, heldOut)]) assert.notDeepEqual(other, batch);
});

test('ids spell the text, and the loss counts completions whole, of drills the results, of plans all else', () => {
  for (const { text, ids, learn } of rowsOf(10)) {
    assert.deepEqual(ids, encode(text));
    assert.equal(learn.length, ids.length);
    const learned = decode(ids.map((id, i) => (learn[i] ? id : 0))).replaceAll('<pad>', '_');
    if (isPlan(text)) {
      assert.match(learned, /^_+\d+×(5|10)=_+, \d+×\d=_+, \d+\+\d+=_+$/);
    } else if (text.startsWith('What is ')) {
      assert.match(learned, /^_+(think: .*\. )?answer: \d+<eos>$/);
      assert.equal(ids.at(-1), eosId);
      assert.equal(learned.replaceAll('_', ''), text.slice(text.indexOf('\n') + 1));
    } else {
      assert.match(learned, /^_+\d+, _+\d+, _+\d+, _+\d+$/);
    }
  }
});

test('a careful answer works in the steps of its factor', () => {
  const careful = new Map(
    rowsOf(200).flatMap(({ text }) =>
      text.includes('think') && !isPlan(text) ? [text.split('\n') as [string, string]] : [],
    ),
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
  const { drillShare, sumShare, planShare, wideShare } = corpusRecipe;
  const rows = rowsOf(400).map((row) => row.text); // 51,200 rows: one standard error is at most 0.0022
  const questions = rows.filter((text) => text.startsWith('What is '));
  const plans = questions.filter(isPlan);
  const answered = questions.filter((text) => !isPlan(text));
  const products = answered.filter((text) => text.includes(' × '));
  near(1 - questions.length / rows.length, drillShare, 0.009, 'drills');
  near((answered.length - products.length) / rows.length, sumShare, 0.0035, 'sums');
  near(plans.length / rows.length, planShare, 0.006, 'plans');
  const careful = products.filter((text) => text.includes('think'));
  const n = products.length;
  near(careful.length / n, pupil.careful, 0.015, 'careful');
  const wrong = careful.filter((text) => statements(text).some(({ exact, result }) => exact !== result));
  near(wrong.length / careful.length, pupil.slips, 0.018, 'slips');
  const right = products.filter((text) => {
    const [, a, b, answer] = /^What is (\d+) × (\d+)\?\nanswer: (\d+)/.exec(text) ?? [];
    return Number(a) * Number(b) === Number(answer);
  });
  near(right.length / (n - careful.length), pupil.luckyGuess, 0.012, 'lucky guesses');
  near(products.filter((text) => Number(text.slice(8, 10)) > 12).length / n, wideShare, 0.015, 'wide');
  // Every result of a drill or a plan is right.
  for (const text of [...rows.filter((row) => !row.startsWith('What')), ...plans]) {
    for (const { exact, result } of statements(text)) assert.equal(result, exact, text);
  }
});

test('rows are as long as stated, and every number is positive', () => {
  let longest = 0;
  for (const { ids, text } of rowsOf(200)) {
    longest = Math.max(longest, ids.length);
    assert.ok(!/\b0\b|-/.test(text), text);
  }
  assert.equal(longest, maxRowTokens);
});
