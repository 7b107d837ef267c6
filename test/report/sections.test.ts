/** Each section on records of runs, as text and as parsed HTML; what a browser makes of a page is run.test.ts's business. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHTML } from 'linkedom';
import type { Html } from '../../src/report/html.js';
import type { RunRecord } from '../../src/report/read.js';
import { curvesSection } from '../../src/report/sections/curves.js';
import { beforeAfterSection, comparedSection } from '../../src/report/sections/evaluations.js';
import { examplesSection } from '../../src/report/sections/examples.js';
import { factsSection } from '../../src/report/sections/facts.js';
import { preflightSection } from '../../src/report/sections/preflight.js';
import { problemsSection } from '../../src/report/sections/problems.js';
import { runRecord, stepRecord } from '../helpers/run-record.js';

const learned = runRecord({ before: () => 2, after: ({ a }) => (a === 12 ? 1 : 6) });

interface Parsed {
  readonly text: string;
  all(selector: string): { readonly textContent: string; getAttribute(name: string): string | null }[];
  /** The tooltips, in order. */
  readonly tips: string[];
}

function parse(section: Html | undefined): Parsed {
  assert.ok(section);
  const { document } = parseHTML(`<!doctype html><html><body>${section.markup}</body></html>`);
  const all = (selector: string) => [...document.querySelectorAll(selector)] as unknown as ReturnType<Parsed['all']>;
  const text = (document.body.textContent as string).replace(/\s+/g, ' ');
  return { text, all, tips: all('svg title').map(({ textContent }) => textContent) };
}

test('before and after: every measure with its change, both tests, the best constant answer', () => {
  const { text, all } = parse(beforeAfterSection(learned));
  const rows = all('tbody tr').map(({ textContent }) => textContent);
  // 4 of the 20 held-out problems begin with 12: (16·6 + 4·1) / (20·8) = 62.5 %.
  assert.equal(rows[0], 'Exact, sampled25.0 %62.5 %+37.5 points');
  assert.equal(rows[1], 'Exact, greedy0.0 %80.0 %+80.0 points');
  assert.ok(rows.includes('Cut off0.0 %0.0 %0.0 points'));
  assert.match(text, /16 problems gained, 0 lost; McNemar’s exact test, p = 3\.1e-5/);
  assert.match(text, /Answering 72 to everything would earn a mean reward of 0\.395/);
  const unfinished = parse(beforeAfterSection(runRecord()));
  assert.match(unfinished.text, /after training has not been made yet/);
  assert.deepEqual(
    unfinished.all('thead th').map(({ textContent }) => textContent),
    ['before'],
  );
});

test('problems: three grids of 121 cells, 20 of them outlined, each with its numbers in words', () => {
  const { tips, text, all } = parse(problemsSection(learned));
  assert.equal(all('svg').length, 3);
  assert.equal(tips.length, 3 * 121);
  assert.equal(tips.filter((tip) => tip.includes('held out')).length, 3 * 20);
  assert.ok(
    tips.includes('12 × 6, held out\nbefore 25.0 % (2 of 8 exact)\nafter 12.5 % (1 of 8 exact)\nchange −12.5 points'),
  );
  assert.match(text, /the 4 samples of stage 1; after, the rollouts of updates 6 to 12 \(epoch 2\), made while/);
});

test('problems of a custom task are listed, even if they have fields a and b', () => {
  const { tips, all, text } = parse(problemsSection({ ...learned, stored: withOptions(learned, { task: 'mine.ts' }) }));
  assert.equal(all('svg').length, 1);
  assert.equal(tips.length, 20);
  assert.match(tips[0]!, /^What is .*\nbefore 25\.0 %\nafter 75\.0 %$/);
  assert.match(tips.at(-1)!, /^What is 12 × \d+\?\nbefore 25\.0 %\nafter 12\.5 %$/);
  assert.match(text, /largest gain first\./);
});

test('if there are very many problems, the largest gains and losses are listed, which is stated', () => {
  const [first] = learned.before!.perProblem;
  const test = Array.from({ length: 500 }, (_, i) => ({ id: `problem ${i}`, cluster: `${i}`, value: i }));
  const perProblem = test.map(({ id, cluster }) => ({ ...first!, id, cluster }));
  const many: RunRecord = {
    ...learned,
    stored: withOptions(learned, { task: 'mine.ts' }),
    problems: { train: [], rows: [], test },
    before: { ...learned.before!, perProblem },
  };
  const { tips, all, text } = parse(problemsSection(many));
  assert.equal(all('svg').length, 3);
  assert.equal(tips.length, 60);
  assert.match(text, /440 problems in the middle are omitted/);
});

function withOptions(run: RunRecord, change: Partial<RunRecord['stored']['options']>): RunRecord['stored'] {
  return { ...run.stored, options: { ...run.stored.options, ...change } };
}

test('curves: eleven charts with every value as text; held-out measurements are labelled as such', () => {
  const { tips, all, text } = parse(curvesSection([learned]));
  assert.equal(all('svg').length, 11);
  for (const path of all('g[data-mark=line] path')) assert.doesNotMatch(path.getAttribute('d') ?? '', /NaN|undefined/);
  assert.ok(tips.includes('update 7\nreward 0.07'));
  assert.ok(tips.includes('update 7\nexact answers 3.5 %'));
  assert.ok(tips.includes('update 12\ngradient norm 0.01'));
  assert.ok(tips.includes('update 12\nlearning rate 1.0e-4'));
  assert.ok(tips.includes('update 12\nloss 0.1'));
  assert.ok(tips.includes('during training, after update 10\n50.0 % of 20 greedy answers exact'));
  assert.ok(tips.includes('evaluation before training\n0.0 % of 20 greedy answers exact'));
  assert.match(
    text,
    /Measurements during training are for monitoring only: nothing was stopped, saved or chosen by them\./,
  );
  assert.equal(curvesSection([{ ...learned, steps: [] }]), undefined);
});

test('validation problems have a chart of their own, which marks the model that --keep best keeps', () => {
  const rates = new Map([
    [4, 0.5],
    [8, 0.75],
    [12, 0.625],
  ]);
  const steps = learned.steps.map((step) => {
    const rate = rates.get(step.step);
    return rate === undefined ? step : { ...step, validationGreedy: rate };
  });
  const chosen = runRecord({ options: { keep: 'best', numValidation: 8 } });
  const { tips, all, text } = parse(curvesSection([{ ...chosen, steps }]));
  assert.equal(all('svg').length, 12);
  assert.ok(tips.includes('after update 8, the kept model\n75.0 % of greedy answers exact'));
  assert.ok(tips.includes('after update 12\n62.5 % of greedy answers exact'));
  assert.match(text, /--keep best chose by this/);
  const other = parse(curvesSection([{ ...learned, steps }]));
  assert.equal(other.all('svg').length, 12);
  assert.doesNotMatch(other.text, /kept model|--keep best/);
});

test('the scatter has A*PO’s two sides: r − V* and β₂·(S − S_ref)', () => {
  // advantage -0.5 was logged with the implicit reward 0.001·0.2 taken off.
  const { tips, text } = parse(curvesSection([learned]));
  assert.ok(
    tips.some((tip) => tip.endsWith('update 2, reward 0\nadvantage -0.5, implicit reward 2.0e-4')),
    tips.at(-3),
  );
  assert.match(text, /Implicit reward against advantage/);
  const grpo = parse(curvesSection([{ ...learned, stored: withOptions(learned, { algo: 'grpo' }) }]));
  assert.ok(grpo.tips.some((tip) => tip.endsWith('advantage -0.5, log-ratio 0.2')));
});

test('long runs are drawn as means of neighbouring updates, and say so', () => {
  const steps = Array.from({ length: 5000 }, (_, i) => stepRecord(i + 1));
  const { tips } = parse(curvesSection([{ ...learned, steps }]));
  const rewards = tips.filter((tip) => tip.includes('reward') && tip.startsWith('updates'));
  assert.ok(rewards.length <= 160 && rewards.length > 80);
  // 5000 updates in bins of 32; the mean of 0.01 to 0.32.
  assert.equal(rewards[0], 'updates 1 to 32, mean\nreward 0.165');
});

test('several runs share each chart, distinguished by colour and dash, and a legend names them', () => {
  const other = { ...runRecord({ steps: 20 }), name: 'other' };
  const { tips, all, text } = parse(curvesSection([learned, other]));
  assert.ok(tips.includes('update 7\ndemo 0.07\nother 0.07'));
  assert.ok(tips.includes('update 19\nother 0.19'), 'beyond the end of the shorter run');
  assert.deepEqual(
    all('.legend li').map(({ textContent }) => textContent),
    ['demo', 'other'],
  );
  assert.match(text, /demo: 24 rollouts/);
});

test('stage 1: histogram, ceiling, verdict and advice', () => {
  const { tips, text } = parse(preflightSection(learned));
  const total = learned.problems.train.length;
  assert.equal(tips.length, 5);
  assert.equal(tips[2], `2 of 4 samples correct\n${total} problems (100.0 %)`);
  assert.match(text, /Go\. Enough problems/);
  assert.match(text, /Ceiling: one of 4 correct \(pass@4\)100\.0 %/);
  const { preflight, ...stage1 } = learned.stage1!;
  const warned = { ...preflight!, verdict: 'warn', advice: ['Take <easier> problems.'] } as const;
  assert.match(
    parse(preflightSection({ ...learned, stage1: { ...stage1, preflight: warned } })).text,
    /Go, with a warning\. Take <easier>/,
  );
  assert.match(
    parse(preflightSection({ ...learned, stage1: { ...stage1, done: 3 } })).text,
    /sampled 3 of \d+ training/,
  );
  const { stage1: _, ...without } = learned;
  assert.equal(preflightSection(without), undefined);
  assert.match(
    parse(preflightSection({ ...without, stored: withOptions(learned, { algo: 'grpo' }) })).text,
    /GRPO has no stage 1/,
  );
});

test('examples: the first samples before and after, token by token, gains first and the largest loss', () => {
  const { all, text } = parse(examplesSection(learned));
  assert.equal(all('article').length, 20);
  assert.match(text, /The first sample of each held-out problem at temperature 1, with the same random numbers/);
  assert.match(all('article')[3]!.textContent, /What is 12 × .*12\.5 % of all samples exact/s);
  assert.equal(all('details article').length, 16);
  const tips = all('.completion')[0]!;
  assert.match(tips.textContent, /^answer: \d+∎$/);
  const spans = all('[data-tip]').map((span) => span.getAttribute('data-tip'));
  assert.equal(spans[0], '"a"\nprobability 100.0 %\nlog-prob 0.0000');
  assert.equal(spans[2], '"s"\nprobability 60.7 %\nlog-prob −0.5000');
  assert.match(spans[10]!, /^end of the completion\n/);
});

test('a character of several tokens is one mark, with their probabilities multiplied', () => {
  const [problem] = learned.before!.perProblem;
  const drawn = {
    ...problem!.firstSample!,
    pieces: ['', '', '×', ''],
    logProbs: [-1, -0.5, -0.25, 0],
    truncated: true,
  };
  const before = { ...learned.before!, perProblem: [{ ...problem!, firstSample: drawn }] };
  const { all } = parse(examplesSection({ ...runRecord(), before }));
  assert.deepEqual(
    all('[data-tip]').map((span) => span.getAttribute('data-tip')),
    ['"×"\nprobability 17.4 %\nlog-prob −1.7500'],
  );
});

test('without samples the greedy answers are shown uncoloured, with the reason', () => {
  const { all, text } = parse(examplesSection(runRecord({ samples: 0, before: () => 1 })));
  assert.equal(all('[data-tip]').length, 0);
  assert.match(text, /The greedy answer to each held-out problem; nothing was sampled/);
});

test('compared: tests between the trained models, and the options that differ', () => {
  const other = { ...runRecord({ options: { lr: 1e-5, seed: 2 }, before: () => 2, after: () => 2 }), name: 'slower' };
  const unfinished = { ...runRecord(), name: 'unfinished' };
  const strange = { ...runRecord({ options: { numTest: 4 }, after: () => 2 }), name: 'strange' };
  const { all } = parse(comparedSection([learned, other, unfinished, strange]));
  const rows = all('tbody tr').map(({ textContent }) => textContent);
  assert.match(rows[0]!, /^demoLearned25\.0 %62\.5 %$/);
  assert.match(rows[1]!, /^slowerNo change25\.0 %25\.0 %\+37\.5 points, p = 0\.0\d+$/);
  assert.match(rows[2]!, /^unfinishedUnfinished25\.0 %–not both finished$/);
  assert.match(rows[3]!, /other problems$/);
  // --num-test, --seed and --lr.
  assert.equal(rows[5], 'slower2020.00001');
  assert.equal(all('thead')[1]!.textContent, '--num-test--seed--lr');
  assert.equal(comparedSection([learned]), undefined);
});

test('facts: cost with units, every option, versions and the command', () => {
  const { text, all } = parse(factsSection(learned));
  assert.match(text, /tinyzero train --model builtin .*--num-train 60.*--engine wasm/);
  assert.match(text, /Evaluation before180 completions, 1\.5 s/);
  assert.match(text, /Stage 212 updates, 24 rollouts, 1,200 tokens, 3 s/);
  assert.match(text, /engine descriptionWebAssembly/);
  for (const option of ['--seed0', '--train-onsolved', '--task–', '--eval-samples64']) {
    assert.ok(text.includes(option), option);
  }
  const folded = all('details tr').map(({ textContent }) => textContent);
  assert.ok(folded.includes('--task–') && !folded.includes('--seed0'));
});
