/** The live page in a browser, over a run that trains meanwhile. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, type TestContext } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { findInstalledEngine } from '../../../src/engine/install/installed.js';
import { watchRuns } from '../../../src/report/live/watch.js';
import { renderPage } from '../../../src/report/page.js';
import { readRunRecord } from '../../../src/report/read.js';
import { runFiles } from '../../../src/run/folder.js';
import { assertAccessible, threeSizes } from '../../helpers/axe.js';
import { browserTest } from '../../helpers/chromium.js';
import { temporaryFolder as makeFolder, tinyzero } from '../../helpers/cli.js';
import { temporaryFolder } from '../../helpers/files.js';
import { longerRun } from '../../helpers/runs.js';

const root = makeFolder('watch-browser');
const run = join(root, 'run');
after(() => rmSync(root, { recursive: true, force: true }));
const engine = findInstalledEngine() === undefined ? 'wasm' : 'tensorflow';
const updates = 30;

/** Whatever a page complains about, or asks of anyone but its own server. */
function complaints(page: Page, url: string): string[] {
  const found: string[] = [];
  page.on('console', (message) => found.push(message.text()));
  page.on('pageerror', (error) => found.push(error.message));
  page.on('request', (request) => {
    if (!request.url().startsWith(url)) found.push(request.url());
  });
  return found;
}

browserTest('pages that are open during a run fill, and end as its report', async (browser, t) => {
  const watching = await watchRuns({ paths: [run], port: 0 });
  t.after(() => watching.close(''));
  const pages = await Promise.all(
    threeSizes.map(async (size) => {
      const page = await browser.newPage({ ...size, reducedMotion: 'reduce' });
      const errors = complaints(page, watching.url);
      await page.goto(watching.url);
      return { page, errors, width: size.viewport.width };
    }),
  );
  const [{ page: first }] = pages as [(typeof pages)[0]];
  const heading = first.locator('h1');
  assert.match(await heading.innerText(), /no run here yet/);
  const training = tinyzero(['train', ...longerRun, '--out', run, '--engine', engine, '--no-install']);
  await first.getByText(/^Stage 2: \d+ of 30 updates/).waitFor({ timeout: 240_000 });
  await first.locator('#rollouts .completion').first().waitFor();
  for (const { page } of pages) await assertAccessible(page, 'during the run');
  assert.equal((await training).code, 0);
  const { page: report } = renderPage([readRunRecord(run)]);
  for (const { page, errors, width } of pages) {
    await page
      .getByText(/held-\u2060?out accuracy .*→/)
      .first()
      .waitFor({ timeout: 60_000 });
    await page.locator('#examples').waitFor();
    assert.match(await page.title(), /^Finished · run · tinyzero watch$/);
    assert.match(await page.locator('#said').innerText(), /^Finished\. /);
    assert.equal(await page.locator('#rollouts').count(), 0);
    await assertAccessible(page, 'at the end');
    assert.deepEqual(errors, [], `${width}`);
    // The same elements as in the report, which its own script has prepared in the same way.
    const own = await browser.newPage();
    await own.setContent(report);
    const markup = JSON.stringify(await own.locator('main').innerHTML());
    const different = await page.evaluate(`(() => {
      const { body } = new DOMParser().parseFromString(${markup}, 'text/html');
      const [live, own] = [[...document.querySelector('main').children], [...body.children]];
      const pairs = own.map((part, i) => part.isEqualNode(live[i]) ? '' : part.id + ' and ' + live[i]?.id);
      return [...pairs.filter(Boolean), ...(live.length === own.length ? [] : ['their number'])];
    })()`);
    assert.deepEqual(different, []);
    await own.close();
  }
  await watching.close('The run has ended.');
  await first.getByText('The run has ended.').waitFor();
});

/** The run as it was after so many updates. */
function copyAfter(folder: string, made: number): void {
  mkdirSync(folder, { recursive: true });
  for (const name of ['problems', 'config', 'evalBefore', 'vStar', 'probe', 'rollouts'] as const) {
    cpSync(join(run, runFiles[name]), join(folder, runFiles[name]));
  }
  for (const name of ['metrics', 'timings'] as const) setUpdates(folder, name, made);
}

function setUpdates(folder: string, name: 'metrics' | 'timings', made: number): void {
  const lines = readFileSync(join(run, runFiles[name]), 'utf8').split('\n');
  writeFileSync(join(folder, runFiles[name]), `${lines.slice(0, made).join('\n')}\n`);
}

async function opened(browser: Browser, t: TestContext, folder: string) {
  const watching = await watchRuns({ paths: [folder], port: 0 });
  t.after(() => watching.close(''));
  const page = await browser.newPage({ viewport: { width: 800, height: 900 }, reducedMotion: 'reduce' });
  await page.goto(watching.url);
  return { page, watching };
}

browserTest('an update leaves focus, tooltips, open details and the place on the page alone', async (browser, t) => {
  const folder = join(temporaryFolder(t), 'run');
  copyAfter(folder, 3);
  const { page } = await opened(browser, t, folder);
  await page.getByText(`Stage 2: 3 of ${updates} updates`).waitFor();
  const details = page.locator('#repeat details');
  await details.locator('summary').click();
  const chart = page.locator('#training svg.plot').first();
  await chart.focus();
  await page.keyboard.press('Home');
  await page.keyboard.press('ArrowRight');
  const tip = page.locator('#tip');
  assert.match(await tip.innerText(), /^update 2\n/);
  const place = async () => (await chart.boundingBox())!.y;
  const before = await place();
  setUpdates(folder, 'metrics', 4);
  await page.getByText(`Stage 2: 4 of ${updates} updates`).waitFor();
  await page.locator('#training').getByText('Stage 2 made 4 updates').waitFor();
  assert.match(await tip.innerText(), /^update 2\n/, 'the tooltip stays');
  await page.keyboard.press('End');
  assert.match(await tip.innerText(), /^update 4\n/, 'the focus stays, and the new update is there');
  assert.equal(await details.getAttribute('open'), '');
  assert.ok(Math.abs((await place()) - before) < 5, `the chart was at ${before} and is at ${await place()}`);
});

browserTest('the page can be paused, is reached by keyboard, and says when its server is gone', async (browser, t) => {
  const folder = join(temporaryFolder(t), 'run');
  copyAfter(folder, 2);
  const { page, watching } = await opened(browser, t, folder);
  await page.getByText(`Stage 2: 2 of ${updates} updates`).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.locator(':focus').innerText(), 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate('document.activeElement.id'), 'main');
  const pause = page.getByRole('button', { name: 'Pause' });
  await pause.focus();
  await page.keyboard.press('Enter');
  assert.equal(await pause.getAttribute('aria-pressed'), 'true');
  setUpdates(folder, 'metrics', 4);
  await page.waitForTimeout(2000);
  assert.equal(await page.getByText(`Stage 2: 2 of ${updates} updates`).count(), 1);
  await page.keyboard.press('Space');
  await page.getByText(`Stage 2: 4 of ${updates} updates`).waitFor();
  assert.equal(await page.getByRole('progressbar', { name: 'Stage 2' }).getAttribute('value'), '4');
  await watching.close('It ends here.');
  await page.getByRole('status').getByText('It ends here.').waitFor();
  assert.equal(await pause.isVisible(), false);
});
