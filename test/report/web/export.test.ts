/** The page of a web export: its code answers as tinyzero does, and in a browser it asks two models side by side. */
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ExportResult } from '../../../src/model/export/export.js';
import { loadModel, sample } from '../../../src/model/loaded-model.js';
import { defaultOptions } from '../../../src/options/settings.js';
import { exportWeb } from '../../../src/report/web/export.js';
import { multiplicationReward } from '../../../src/reward/multiplication.js';
import { silentReporter } from '../../../src/util/reporter.js';
import { assertAccessible } from '../../helpers/axe.js';
import { browserTest } from '../../helpers/chromium.js';
import { fixture, temporaryFolder } from '../../helpers/files.js';
import { serveFolder } from '../../helpers/static-server.js';

const never = new AbortController().signal;

function exported(t: TestContext, references: readonly string[], check = false): Promise<ExportResult> {
  const models = references.map((reference) => ({ reference, name: reference.split('/').at(-1)! }));
  const request = { models, training: defaultOptions(), out: join(temporaryFolder(t), 'web'), check };
  return exportWeb({ ...request, engine: 'wasm', install: false }, silentReporter, never);
}

for (const model of ['builtin', fixture('llama'), fixture('qwen2-untied-bf16'), fixture('qwen3-tied')]) {
  test(`${model.split('/').at(-1)}: the page's code gives the same greedy tokens`, async (t) => {
    const { check } = await exported(t, [model], true);
    assert.deepEqual([check!.sameTokens, check!.sameAnswers], [20, 20], JSON.stringify(check));
  });
}

/** Greedy answers of tinyzero. */
async function answersOf(t: TestContext, reference: string, prompts: readonly string[]) {
  const model = await loadModel(reference, { engine: 'wasm', install: false, precision: 'f32' }, silentReporter, never);
  t.after(() => model.close());
  const completions = await sample(model, prompts, { temperature: 0, maxNewTokens: 48 });
  return completions.map(([completion]) => ({ text: completion!.text, finished: completion!.finishReason === 'stop' }));
}

const factors = Array.from({ length: 11 }, (_, i) => i + 2);
const products = factors.flatMap((a) => factors.map((b) => ({ a, b })));

browserTest('two built-in models side by side: below 3 MB, answers, rewards, tables', async (browser, t) => {
  const { path, bytes } = await exported(t, ['builtin', 'builtin-b']);
  const files = readdirSync(path, { recursive: true, encoding: 'utf8' }).map((name) => statSync(join(path, name)));
  const total = files.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
  assert.equal(bytes, total);
  assert.ok(total < 3e6, `${total} bytes`);

  const origin = await serveFolder(t, path);
  const page = await browser.newPage({ viewport: { width: 390, height: 800 } });
  const wrong: string[] = [];
  page.on('console', (message) => wrong.push(message.text()));
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('request', (request) => request.url().startsWith(origin) || wrong.push(request.url()));
  await page.goto(origin);
  await page.getByRole('button', { name: 'Ask' }).click();
  await page.locator('#fill:enabled').waitFor({ timeout: 120_000 });
  const texts = await page.locator('.answer pre').allInnerTexts();
  const facts = await page.locator('.answer p').allInnerTexts();
  for (const [i, reference] of ['builtin', 'builtin-b'].entries()) {
    const [answer] = await answersOf(t, reference, ['What is 7 × 8?\n']);
    assert.equal(texts[i], answer!.text);
    const { reward } = multiplicationReward(answer!.text, 56, answer!);
    assert.ok(facts[i]!.startsWith(`reward ${reward} · `), facts[i]);
  }

  await page.getByRole('button', { name: 'Fill the table' }).click();
  await page.locator('#fill:enabled').waitFor({ timeout: 300_000 });
  const prompts = products.map(({ a, b }) => `What is ${a} × ${b}?\n`);
  const answers = await answersOf(t, 'builtin', prompts);
  const exact = answers.map(({ text, finished }, i) => {
    return multiplicationReward(text, products[i]!.a * products[i]!.b, { finished }).exact;
  });
  const right = exact.filter(Boolean).length;
  const captions = await page.locator('caption').allInnerTexts();
  assert.match(captions[0]!, new RegExp(`^builtin: ${right} of 121 right, mean reward 0\\.\\d{3}$`));
  const cells = await page.evaluate<boolean[]>(
    `[...document.querySelector('table').querySelectorAll('td[aria-label]')].map((cell) => cell.classList.contains('right'))`,
  );
  assert.deepEqual(cells, exact);
  assert.equal(await page.locator('table').first().locator('td.held').count(), 20);
  await assertAccessible(page);
  assert.deepEqual(wrong, []);
});
