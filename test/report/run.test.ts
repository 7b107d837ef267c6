/**
 * The report of a real, short run: read whole, half-written and damaged; as the command makes it; as a browser shows it.
 */
import assert from 'node:assert/strict';
import { appendFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before as beforeAll, type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { parseHTML } from 'linkedom';
import type { Page } from 'playwright-core';
import { findInstalledEngine } from '../../src/engine/install/installed.js';
import { report } from '../../src/index.js';
import { renderPage, writeReport } from '../../src/report/page.js';
import { readRunRecord } from '../../src/report/read.js';
import { runFiles } from '../../src/run/folder.js';
import { sealJson } from '../../src/util/checksum.js';
import { UserError } from '../../src/util/errors.js';
import { assertAccessible, threeSizes } from '../helpers/axe.js';
import { browserTest } from '../helpers/chromium.js';
import { lastLine, temporaryFolder as makeFolder, modulesLoadedBy, packagesOf, tinyzero } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';
import { damage, fuzz, pick } from '../helpers/fuzz.js';
import { beginOrResume, runBytes } from '../helpers/runs.js';

const root = makeFolder('report');
const run = join(root, 'short run');
let trained: Awaited<ReturnType<typeof tinyzero>>;
beforeAll(async () => {
  // Whichever engine is here: the files are the same in kind.
  trained = await tinyzero(beginOrResume(run, findInstalledEngine() === undefined ? 'wasm' : 'tensorflow'));
});
after(() => rmSync(root, { recursive: true, force: true }));

function copyOfRun(t: TestContext): string {
  const folder = join(temporaryFolder(t), 'duplicate');
  mkdirSync(folder);
  for (const name of Object.values(runFiles).filter((file) => file.includes('.') && existsSync(join(run, file)))) {
    cpSync(join(run, name), join(folder, name));
  }
  return folder;
}

test('train ends with the report and says where it is', () => {
  assert.equal(trained.code, 0, trained.stderr);
  assert.match(
    trained.stdout,
    /^[^\n]* held-out accuracy [\s\S]*The report is .*short run\/report\.html[\s\S]*\nNext:\n {2}tinyzero report /,
  );
  const page = readFileSync(join(run, 'report.html'), 'utf8');
  const { verdict } = renderPage([readRunRecord(run)]);
  assert.match(page, /^<!doctype html>/);
  assert.ok(page.includes(`<title>short run: ${verdict.label.toLowerCase()}`));
});

test('everything that the run wrote is in the record', () => {
  const record = readRunRecord(run);
  assert.equal(record.name, 'short run');
  assert.deepEqual(
    record.steps.map(({ step, heldOutGreedy }) => [step, heldOutGreedy !== undefined]),
    [1, 2, 3, 4, 5].map((step) => [step, step === 3]),
  );
  assert.equal(record.rollouts.count, record.rollouts.points.length);
  assert.ok(
    record.rollouts.points.every(({ step, delta }) => step > 1 || delta === 0),
    'the first update starts at the reference',
  );
  assert.equal(record.stage1?.preflight?.samplesPerProblem, 4);
  assert.deepEqual([...record.timings.phases.keys()].sort(), [
    'eval-after',
    'eval-before',
    'first-token',
    'stage1',
    'stage2',
  ]);
  assert.equal(record.timings.updates.length, 5);
  for (const { firstSample } of record.before!.perProblem) {
    const { pieces, logProbs, completion, tokens } = firstSample!;
    assert.equal(pieces.join(''), completion);
    assert.deepEqual([pieces.length, logProbs.length], [tokens, tokens]);
  }
});

test('a report reads the run and writes one file, wherever that is', async (t) => {
  const bytes = runBytes(run);
  const out = join(temporaryFolder(t), 'new', 'a.html');
  const before = readFileSync(join(run, 'report.html'));
  const { path, verdict } = await report({ folder: run, compare: [run], out });
  assert.equal(path, out);
  assert.equal(verdict.sentence, renderPage([readRunRecord(run)]).verdict.sentence);
  assert.deepEqual(runBytes(run), bytes);
  assert.deepEqual(readFileSync(join(run, 'report.html')), before);
});

test('the command prints the verdict, overlays runs, and opens nothing without a screen', async (t) => {
  const folder = copyOfRun(t);
  const env = { DISPLAY: undefined, WAYLAND_DISPLAY: undefined, WSL_DISTRO_NAME: undefined };
  const open = process.platform === 'linux' ? ['--open'] : [];
  const plain = await tinyzero(['report', folder, ...open], env);
  assert.equal(plain.code, 0, plain.stderr);
  const { verdict } = renderPage([readRunRecord(folder)]);
  assert.ok(plain.stdout.startsWith(`${verdict.sentence}\n`));
  assert.match(plain.stdout, /The report is in .*duplicate\/report\.html\.\n$/);
  if (open.length > 0) assert.match(plain.stderr, /Cannot open a browser. Open .*report\.html yourself\./);
  // The same files give the same bytes, but for the folder's name and path.
  const page = (path: string, name: string) =>
    readFileSync(join(path, 'report.html'), 'utf8').replaceAll(path, '').replaceAll(name, '');
  assert.equal(page(folder, 'duplicate'), page(run, 'short run'));

  const out = join(folder, 'both.html');
  const json = await tinyzero(['report', folder, '--compare', run, run, '--out', out, '--json']);
  assert.deepEqual(lastLine(json.stdout), { event: 'result', verdict: JSON.parse(JSON.stringify(verdict)), path: out });
  assert.match(readFileSync(out, 'utf8'), /Runs compared/);
});

test('wrong folders and arguments are explained', async (t) => {
  const folder = temporaryFolder(t);
  const none = await tinyzero(['report', folder]);
  assert.deepEqual([none.code, none.stdout], [1, '']);
  assert.match(none.stderr, /^tinyzero: .* contains no run\. Expected a folder with config\.json/);
  const other = await tinyzero(['report', run, '--compare', join(folder, 'missing')]);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /missing contains no run/);
  for (const words of [['report'], ['report', run, run], ['report', '--compare', run]]) {
    assert.equal((await tinyzero(words)).code, 2, words.join(' '));
  }
});

test('the chart library is loaded by reports only, the tensor library by no report', async (t) => {
  const missing = join(temporaryFolder(t), 'missing');
  const train = await modulesLoadedBy(['train', '--resume', missing, '--engine', 'wasm']);
  assert.equal(train.code, 1);
  assert.ok(packagesOf(train.loaded).includes('@tensorflow/tfjs-core'), 'the list is real');
  // The charts' packages are bundled into one file.
  const charts = /\/dist\/src\/report\/charts\/plot\.js$/;
  assert.ok(!train.loaded.some((url) => charts.test(url)));
  assert.deepEqual(
    packagesOf(train.loaded).filter((name) => /observable|d3|linkedom|^open$/.test(name)),
    [],
  );
  const made = await modulesLoadedBy(['report', run, '--out', join(temporaryFolder(t), 'r.html')]);
  assert.equal(made.code, 0, made.stderr);
  assert.ok(made.loaded.some((url) => charts.test(url)));
  assert.deepEqual(
    packagesOf(made.loaded).filter((name) => /tensorflow|huggingface/.test(name)),
    [],
  );
});

test('a run that stopped anywhere has a report of what is there', (t) => {
  const folder = copyOfRun(t);
  const page = () => renderPage([readRunRecord(folder)]);
  appendFileSync(join(folder, 'metrics.jsonl'), '{"step": 6, "rew');
  assert.equal(readRunRecord(folder).steps.length, 5, 'a torn last line is no line');
  // In the order in which a run writes them, from the last.
  for (const [file, text] of [
    ['evalAfter', 'Before training'],
    ['rollouts', 'update by update'],
    ['timings', 'Before training'],
    ['metrics', 'training has not begun'],
    ['vStar', 'Before training'],
    ['evalBefore', 'nothing has been measured'],
  ] as const) {
    rmSync(join(folder, runFiles[file]));
    const { page: html, verdict } = page();
    assert.equal(verdict.kind, 'unfinished', file);
    assert.ok(html.includes(text), file);
  }
});

test('a run with samples in only one of its evaluations has a report', (t) => {
  const folder = copyOfRun(t);
  const path = join(folder, runFiles.evalBefore);
  const { sampled: _, perProblem, ...rest } = JSON.parse(readFileSync(path, 'utf8'));
  const greedyOnly = perProblem.map(
    ({ sampled: __, firstSample: ___, ...problem }: Record<string, unknown>) => problem,
  );
  writeFileSync(path, JSON.stringify({ ...rest, perProblem: greedyOnly }));
  const record = readRunRecord(folder);
  assert.equal(record.before?.sampled, undefined);
  assert.ok(record.after?.sampled);
  const { page } = renderPage([record, record]);
  assert.ok(!/NaN|undefined/.test(page.replace(/<script[\s\S]*?<\/script>/g, '')));
});

test('damaged files are named in a UserError, never in another error', (t) => {
  const folder = copyOfRun(t);
  // The report does not look at the trained model.
  const names = Object.values(runFiles).filter(
    (name) => /json/.test(name) && name !== runFiles.finalChecksums && existsSync(join(folder, name)),
  );
  const whole = new Map(names.map((name) => [name, readFileSync(join(folder, name))]));
  let refused = 0;
  fuzz(150, (random, seed) => {
    const name = pick(names, random);
    writeFileSync(join(folder, name), damage(whole.get(name)!, random));
    try {
      const record = readRunRecord(folder);
      // Rendering takes longer than reading.
      if (seed % 4 === 0) renderPage([record, record]);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      refused += 1;
    } finally {
      writeFileSync(join(folder, name), whole.get(name)!);
    }
  });
  assert.ok(refused > 50, `${refused} of 150 refused`);
  for (const name of names) {
    rmSync(join(folder, name));
    mkdirSync(join(folder, name));
    assert.throws(
      () => readRunRecord(folder),
      (error) => error instanceof UserError && (error.message.includes(name) || name === runFiles.config),
    );
    rmSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, name), whole.get(name)!);
  }
});

const hostile = `</title></script><script>document.title='pwned'</script><img src=x onerror="document.title='pwned'">'"&amp;`;

/** Puts hostile text wherever a run holds text of a model, of a task or of the user. */
function poison(folder: string): void {
  const change = (name: string, edit: (text: string) => string) => {
    const [body, hasSeal] = readFileSync(join(folder, name), 'utf8').split(
      /,\n {2}"checksum": "[0-9a-f]{8}"(?=\n\}\n$)/,
    );
    const edited = edit(hasSeal === undefined ? body! : body + hasSeal);
    writeFileSync(join(folder, name), hasSeal === undefined ? edited : sealJson(edited));
  };
  const text = JSON.stringify(hostile).slice(1, -1);
  for (const name of [runFiles.problems, runFiles.evalBefore, runFiles.evalAfter, runFiles.rollouts, runFiles.vStar]) {
    change(name, (content) => content.replaceAll('What is', text));
  }
  for (const name of [runFiles.evalBefore, runFiles.evalAfter]) {
    change(name, (content) =>
      content.replace(/"(completion|task)": "/g, `"$1": "${text}`).replace(/"pieces": \[\s*"/g, (all) => all + text),
    );
  }
  change(runFiles.config, (content) => content.replace('"builtin"', `"${text}"`));
}

test('text of models and tasks stays text', (t) => {
  const folder = copyOfRun(t);
  poison(folder);
  const { page } = renderPage([readRunRecord(folder)]);
  const { document } = parseHTML(page);
  assert.ok(document.body.textContent?.includes(hostile));
  assert.equal(document.querySelectorAll('script').length, 1);
  assert.equal(document.querySelectorAll('img, iframe, object, embed, form, [onerror], [src]').length, 0);
});

browserTest(
  'in a browser: everything is there, nothing is cut off, and no error or request occurs',
  async (browser, t) => {
    const folder = copyOfRun(t);
    poison(folder);
    const { path: hostilePath } = writeReport({ folder });
    const compared = join(folder, 'compared.html');
    writeReport({ folder: run, compare: [folder], out: compared });
    const sizes = [390, 820, 1440].flatMap((width) =>
      (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
    );
    for (const [i, { width, colorScheme }] of sizes.entries()) {
      const path = [join(run, 'report.html'), hostilePath, compared][i % 3]!;
      const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme });
      const errors: string[] = [];
      page.on('console', (message) => errors.push(message.text()));
      page.on('pageerror', (error) => errors.push(error.message));
      page.on('request', (request) => request.url() !== pathToFileURL(path).href && errors.push(request.url()));
      await page.goto(pathToFileURL(path).href);
      const where = `${path} at ${width}, ${colorScheme}`;
      assert.deepEqual(errors, [], where);
      assert.doesNotMatch(await page.title(), /^pwned/);
      const headings = await page.locator('h2').allInnerTexts();
      for (const heading of ['Before and after', 'Problem by problem', 'What the model writes', 'How to repeat it']) {
        assert.ok(headings.includes(heading), `${heading} in ${where}`);
      }
      assert.deepEqual(await misplaced(page), [], where);
      await page.close();
    }
  },
);

/** Charts without content, labels outside their chart, and anything wider than the window. */
function misplaced(page: Page): Promise<string[]> {
  return page.evaluate(`(() => {
    const found = [];
    if (document.documentElement.scrollWidth > innerWidth) found.push('the page is wider than the window');
    for (const svg of document.querySelectorAll('svg.plot')) {
      const frame = svg.getBoundingClientRect();
      const name = svg.getAttribute('aria-label');
      if (frame.width < 200 || frame.height < 60) found.push(name + ' is ' + frame.width + ' x ' + frame.height);
      if (svg.querySelectorAll('path, circle, rect').length === 0) found.push(name + ' is empty');
      for (const text of svg.querySelectorAll('text')) {
        const box = text.getBoundingClientRect();
        const outside = box.left < frame.left - 2 || box.right > frame.right + 2 || box.top < frame.top - 2 || box.bottom > frame.bottom + 2;
        if (outside && text.textContent) found.push(text.textContent + ' stands outside ' + name);
      }
    }
    return found;
  })()`);
}

browserTest('axe finds nothing serious, in both themes and on a phone', async (browser) => {
  for (const size of threeSizes) {
    const page = await browser.newPage(size);
    await page.goto(pathToFileURL(join(run, 'report.html')).href);
    await assertAccessible(page);
    await page.close();
  }
});

browserTest('the button copies the command', async (browser) => {
  const context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await context.newPage();
  await page.goto(pathToFileURL(join(run, 'report.html')).href);
  await page.getByRole('button', { name: 'Copy' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  const copied = await page.evaluate('navigator.clipboard.readText()');
  assert.match(String(copied), /^tinyzero train --.*--engine \w+$/);
  await context.close();
});

test('the facts under the headline are those of the run', () => {
  const { machine } = readRunRecord(run).timings;
  assert.equal(machine?.parameters, 413_280);
  assert.ok(machine.cores! >= 1 && machine.peakMemory! > 1e8 && !Number.isNaN(Date.parse(machine.date!)));
  const facts = parseHTML(readFileSync(join(run, 'report.html'), 'utf8')).document.querySelector('.key-facts');
  assert.match(facts!.textContent!, /413,280 parameters5 updates.* cores?at most .* of memory\d+ \w+ \d{4}/);
});

browserTest('values are reached by mouse, keyboard and touch', async (browser) => {
  const context = await browser.newContext({ hasTouch: true, viewport: { width: 820, height: 800 } });
  const page = await context.newPage();
  await page.goto(pathToFileURL(join(run, 'report.html')).href);
  const tip = page.locator('#tip');
  const reward = page.locator('#training svg.plot').first();
  await reward.hover();
  assert.match(await tip.innerText(), /^update 3\nreward \d/);
  await page.mouse.move(1, 1);
  assert.equal(await tip.isVisible(), false);

  await reward.focus();
  for (const [key, text] of [
    ['Home', /^update 1\n/],
    ['ArrowRight', /^update 2\n/],
    ['End', /^update 5\n/],
    ['ArrowRight', /^update 5\n/],
    ['ArrowLeft', /^update 4\n/],
  ] as const) {
    await page.keyboard.press(key);
    assert.match(await tip.innerText(), text, key);
  }
  await page.keyboard.press('Escape');
  assert.equal(await tip.isVisible(), false);

  const grid = page.locator('#problems svg.plot').first();
  await grid.focus();
  for (const key of ['Home', 'ArrowDown', 'ArrowDown', 'ArrowRight', 'ArrowUp']) await page.keyboard.press(key);
  assert.match(await tip.innerText(), /^3 × 3/);

  await page.locator('.completion .token').first().tap();
  assert.match(await tip.innerText(), /probability [\d.]+ %\nlog-prob [−\d]/);
  await context.close();
});
