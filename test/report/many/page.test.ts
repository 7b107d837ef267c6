/** The reports of sets of runs, in a browser: from records that the test makes, so that no model is trained. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { parseHTML } from 'linkedom';
import { type SetMember, writeSetReport } from '../../../src/report/many/page.js';
import type { RunPlan } from '../../../src/run/many/plan.js';
import type { Member } from '../../../src/run/many/state.js';
import { summarizeSet } from '../../../src/run/many/summary.js';
import { assertAccessible, threeSizes } from '../../helpers/axe.js';
import { browserTest } from '../../helpers/chromium.js';
import { temporaryFolder } from '../../helpers/files.js';
import { runRecord, stepRecord } from '../../helpers/run-record.js';

interface Progress {
  /** How many runs are finished, the first ones; default: all. */
  readonly finished?: number;
  /** How many runs have made updates; default: all. */
  readonly begun?: number;
}

/** Writes the report of a set whose runs are made up. */
function reportOf(
  t: TestContext,
  plan: RunPlan,
  { finished = plan.runs.length, begun = plan.runs.length }: Progress = {},
): { path: string; page: string } {
  const folder = temporaryFolder(t);
  const members = plan.runs.map((run, i): Member & SetMember => {
    const { before, after } = runRecord({ before: () => 2, after: () => 5 + (i % 3) });
    const steps = Array.from({ length: i < begun ? 20 : 0 }, (_, step) => ({
      ...stepRecord(step + 1),
      reward: (step + i) / 30,
    }));
    const { name, seed, setting } = run;
    const figures = { trainReward: i / 10, trainExact: i / 10, formatRate: 1, signFlipP: 0.001, mcnemarP: 0.01 };
    const rates = {
      greedyBefore: before!.greedy.exact.rate,
      greedyAfter: after!.greedy.exact.rate,
      sampledBefore: before!.sampled!.exact.rate,
      sampledAfter: after!.sampled!.exact.rate,
    };
    if (i >= finished) {
      const row = { name, seed, setting, state: 'running', updates: steps.length } as const;
      return { row, steps, hasReport: false };
    }
    const row = { name, seed, setting, state: 'finished', updates: 20, ...figures, ...rates } as const;
    return { row, evaluations: { before: before!, after: after! }, steps, hasReport: true };
  });
  const path = writeSetReport({ folder, plan, summary: summarizeSet(folder, plan, members), members });
  return { path, page: readFileSync(path, 'utf8') };
}

const seeds: RunPlan = {
  ...{ kind: 'seeds', command: 'train', swept: [], settings: [{ name: 'all', values: {} }] },
  runs: [1, 2, 3].map((seed) => ({ name: `seed-${seed}`, seed, setting: 0, flags: { note: 'a <b>note</b>' } })),
};
const settings = ['1e-4', '2e-4', '8e-3'].flatMap((lr) =>
  ['apo', 'grpo'].map((algo) => ({ name: `trial-${lr}-${algo}`, values: { lr, algo } })),
);
const sweep: RunPlan = {
  ...{ kind: 'sweep', command: 'train', swept: ['lr', 'algo'], settings, rankBy: 'train-reward' },
  runs: settings.map(({ name, values }, i) => ({ name, seed: 0, setting: i, flags: values })),
};

test('a set of seeds: a row for each run, mean and deviation, curves with their mean, problems, links', (t) => {
  const { page } = reportOf(t, seeds);
  const { document } = parseHTML(page);
  assert.match(document.querySelector('h1')!.textContent!, /^It learned, over 3 seeds/);
  assert.equal(document.querySelectorAll('#runs tbody tr').length, 5);
  assert.equal(document.querySelectorAll('#training svg.plot').length, 6);
  assert.equal(document.querySelectorAll('#problems tbody tr').length, 20);
  assert.deepEqual(
    [...document.querySelectorAll('#repeat a')].map((link) => link.getAttribute('href')),
    ['seed-1/report.html', 'seed-2/report.html', 'seed-3/report.html'],
  );
  assert.match(document.querySelector('#command')!.textContent!, /^tinyzero train --config .*seed-1 --seeds 1,2,3$/);
  assert.match(page, /a &lt;b&gt;note/, 'text of the user is no markup');
});

test('an unfinished set: its text mentions no test, mean or best setting that does not exist', (t) => {
  const leads = (plan: RunPlan, progress?: Progress) => {
    const { document } = parseHTML(reportOf(t, plan, progress).page);
    return ['#runs', '#training'].map((id) => document.querySelector(`${id} .lead`)!.textContent);
  };
  const isMatched = (texts: readonly string[], patterns: readonly RegExp[]) => {
    for (const [i, pattern] of patterns.entries()) assert.match(texts[i]!, pattern);
  };
  isMatched(leads(seeds), [
    /own tests; the test over all runs is in the sentence above\.$/,
    /the bold line is their mean/,
  ]);
  isMatched(leads(seeds, { finished: 2 }), [/own tests\.$/, /^3 runs\. .* the bold line is their mean/]);
  isMatched(leads(seeds, { finished: 0, begun: 1 }), [
    /^One row for each run\.$/,
    /^1 run\. The line is its running mean\./,
  ]);
  isMatched(leads(sweep), [/^Ranked by mean training reward\.$/, /The bold line is the best setting/]);
  isMatched(leads(sweep, { finished: 0 }), [/^Ranked by/, /^6 runs\. Lines are running means\./]);
});

test('a sweep: settings in order, and a line for each through its values', (t) => {
  const { page } = reportOf(t, sweep);
  const { document } = parseHTML(page);
  const rows = [...document.querySelectorAll('#runs tbody tr')].map((row) => row.querySelector('td')!.textContent);
  assert.deepEqual(rows, settings.map(({ name }) => name).reverse(), 'the last has the highest reward');
  const plot = document.querySelector('#coordinates svg.plot')!;
  assert.match(
    plot.getAttribute('aria-label')!,
    /^6 settings by lr \(log\), algo, mean training reward\. Best: trial-8e-3-grpo/,
  );
  assert.equal(plot.querySelectorAll('.hits circle').length, 18, 'a mark for each value');
});

browserTest('both reports: axe finds nothing serious, and nothing is wider than the window', async (browser, t) => {
  for (const plan of [seeds, sweep]) {
    const { path } = reportOf(t, plan);
    for (const size of threeSizes) {
      const page = await browser.newPage(size);
      await page.goto(pathToFileURL(path).href);
      await assertAccessible(page, plan.kind);
      await page.locator('#training svg.plot').first().hover();
      assert.match(await page.locator('#tip').innerText(), /^update \d+\nmean /);
      await page.close();
    }
  }
});
