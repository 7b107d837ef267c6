/**
 * A page that trains runs tinyzero's own code: a run in memory, in Node and in a browser, ends with the weights of `train` on the same
 * engine, to the bit.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEngine } from '../../../src/engine/backend.js';
import { float32File } from '../../../src/model/checkpoint/safetensors.js';
import { memoryJob, type PageFiles } from '../../../src/report/web/training/job.js';
import { openMemoryPolicy, trainInMemory } from '../../../src/run/core/in-memory.js';
import { silentReporter } from '../../../src/util/reporter.js';
import { assertAccessible } from '../../helpers/axe.js';
import { browserTest } from '../../helpers/chromium.js';
import { assertUserRejection } from '../../helpers/errors.js';
import { serveFolder } from '../../helpers/static-server.js';
import { downloadedWeights, exportedPage, tinyRun, trainedHere } from '../../helpers/training-page.js';

const never = new AbortController().signal;

test('a run in memory from the files of the page has the weights of train', async (t) => {
  const { path } = await exportedPage(t);
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
    exportedPage(t, { ...tinyRun, loraRank: 4, numValidation: 2 }),
    /--train: a page cannot repeat this run: adapters are trained .*; problems are set aside for validation/,
    /Export without --train/,
  );
});

browserTest('the page trains with WebAssembly: the same weights, a verdict, tables', async (browser, t) => {
  const { path, bytes } = await exportedPage(t);
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
  assert.match(await page.locator('#before-greedy').innerText(), /^\d+\.\d %\s*\d of 4$/);
  assert.equal(await page.locator('#histogram li').count(), 5);
  assert.equal(await page.locator('#table-after td[aria-label]').count(), 16);
  assert.equal(await page.locator('#rollouts li').count(), 4);
  assert.deepEqual(await downloadedWeights(page), await trainedHere(t));

  // Stopped in its first part, it keeps the weights that it has, and can begin again.
  await page.getByRole('button', { name: 'Train' }).click();
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText(/^Stopped after update 0\./).waitFor({ timeout: 120_000 });
  assert.ok(await page.locator('#train').isEnabled());

  await assertAccessible(page);
  assert.deepEqual(wrong, []);
});
