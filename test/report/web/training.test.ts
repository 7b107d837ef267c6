/**
 * A page that trains runs tinyzero's own code: a run in memory, in Node and in a browser, ends with the weights of `train` on the same
 * engine, to the bit.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Page } from 'playwright-core';
import { openEngine } from '../../../src/engine/backend.js';
import { float32File } from '../../../src/model/checkpoint/safetensors-layout.js';
import { defaultOptions, type TrainingOptions } from '../../../src/options/settings.js';
import { exportWeb } from '../../../src/report/web/export.js';
import { memoryJob, type PageFiles } from '../../../src/report/web/training/job.js';
import { openMemoryPolicy, trainInMemory } from '../../../src/run/core/in-memory.js';
import { train } from '../../../src/run/train.js';
import { silentReporter } from '../../../src/util/reporter.js';
import { browserTest } from '../../helpers/chromium.js';
import { assertUserRejection } from '../../helpers/errors.js';
import { temporaryFolder } from '../../helpers/files.js';
import { serveFolder } from '../../helpers/static-server.js';

const never = new AbortController().signal;

/** Seven problems of 6 × 6 to 9 × 9, two updates. */
const tiny = defaultOptions({
  ...{ min: 6, max: 9, numTrain: 8, numTest: 4, numSamples: 4, batchSize: 4, epochs: 1, evalSamples: 1 },
  ...{ trainOn: 'all', curriculum: 'none', force: true, maxSteps: 2, maxNewTokens: 24, seed: 5 },
});

function exported(t: TestContext, training: TrainingOptions = tiny) {
  const models = [{ reference: 'builtin', name: 'builtin' }];
  const out = join(temporaryFolder(t), 'web');
  const request = { models, training, out, check: false, train: true, engine: 'wasm', install: false } as const;
  return exportWeb(request, silentReporter, never);
}

/** The weights of a run of `train` on the wasm engine, as a file. */
async function trainedHere(t: TestContext): Promise<Buffer> {
  const folder = join(temporaryFolder(t), 'run');
  const taskApi = () => Promise.reject(new Error('not needed'));
  const request = { options: tiny, folder, resume: false, engine: 'wasm', install: false, taskApi } as const;
  const { updates } = await train(request, () => {}, silentReporter, never);
  assert.equal(updates, 2);
  return readFileSync(join(folder, 'final/model.safetensors'));
}

test('a run in memory from the files of the page has the weights of train', async (t) => {
  const { path } = await exported(t);
  const read = (name: string) => readFileSync(join(path, name));
  const json = (name: string) => JSON.parse(read(name).toString());
  const job = json('train.json') as PageFiles['job'];
  const files: PageFiles = {
    job,
    tokenizer: json(`${job.model}/tokenizer.json`),
    tokenizerConfig: json(`${job.model}/tokenizer_config.json`),
    weights: Uint8Array.from(read(`${job.model}/model.safetensors`)).buffer,
  };
  const memory = memoryJob(files);
  const policy = openMemoryPolicy(await openEngine('wasm'), memory);
  t.after(() => policy.dispose());
  const seen: string[] = [];
  const onEvent = ({ kind }: { readonly kind: string }) => void seen.push(kind);
  const turn = async () => {};
  await trainInMemory(memory, policy, { onEvent, reporter: silentReporter, turn, signal: never });
  assert.deepEqual([...new Set(seen)], ['evaluated', 'sampled', 'preflight', 'stage2', 'step']);
  assert.deepEqual(Buffer.from(await float32File(policy.specs, policy.read)), await trainedHere(t));
});

test('a run that a page cannot repeat is refused before a file is written', async (t) => {
  await assertUserRejection(
    exported(t, { ...tiny, loraRank: 4, numValidation: 2 }),
    /--train: a page cannot repeat this run: adapters are trained .*; problems are set aside for validation/,
    /Export without --train/,
  );
});

/** The file that the page gives when its button is pressed. */
async function downloaded(page: Page): Promise<Buffer> {
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#weights').click()]);
  assert.equal(download.suggestedFilename(), 'model.safetensors');
  return readFileSync(await download.path());
}

browserTest('the page trains with WebAssembly: the same weights, a verdict, tables', async (browser, t) => {
  const { path, bytes } = await exported(t);
  const entries = readdirSync(path, { recursive: true, encoding: 'utf8' }).map((name) => statSync(join(path, name)));
  assert.equal(
    bytes,
    entries.reduce((sum, entry) => sum + (entry.isFile() ? entry.size : 0), 0),
  );
  assert.ok(bytes < 2.5e6, `${bytes} bytes`);
  const origin = await serveFolder(t, path);
  const page = await browser.newPage({ viewport: { width: 320, height: 800 } });
  const wrong: string[] = [];
  page.on('console', (message) => wrong.push(message.text()));
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('request', (request) => /^(blob:)?http:\/\/127/.test(request.url()) || wrong.push(request.url()));
  await page.goto(origin);
  await page.getByRole('link', { name: 'Train it in this browser' }).click();
  await page.locator('#train:enabled').waitFor({ timeout: 120_000 });
  await page.getByLabel('Compute with').selectOption('wasm');

  // By keyboard: pause, go on, and to the end.
  await page.locator('#seed').focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByText(/^Finished\./).waitFor({ timeout: 300_000 });
  assert.match(await page.locator('#used').innerText(), /WebAssembly/);
  assert.match(await page.locator('#sentence').innerText(), /held-out accuracy .* over 4 unseen problems/);
  assert.match(await page.locator('#reward-now').innerText(), /^Update 2 of 2: /);
  assert.match(await page.locator('#before-greedy').innerText(), /^\d+\.\d % \(\d of 4\)$/);
  assert.equal(await page.locator('#histogram li').count(), 5);
  assert.equal(await page.locator('#table-after td[aria-label]').count(), 16);
  assert.equal(await page.locator('#rollouts li').count(), 4);
  assert.deepEqual(await downloaded(page), await trainedHere(t));

  // Stopped in its first part, it keeps the weights that it has, and can begin again.
  await page.getByRole('button', { name: 'Train' }).click();
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText(/^Stopped after update 0\./).waitFor({ timeout: 120_000 });
  assert.ok(await page.locator('#train').isEnabled());

  assert.equal(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), true);
  await page.evaluate(readFileSync('node_modules/axe-core/axe.min.js', 'utf8'));
  const violations = await page.evaluate<string[]>(
    `axe.run().then(({ violations }) => violations.filter(({ impact }) => ['serious', 'critical'].includes(impact)).map(({ id, nodes }) => id + ': ' + nodes[0].html))`,
  );
  assert.deepEqual(violations, []);
  assert.deepEqual(wrong, []);
});
