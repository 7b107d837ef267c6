/**
 * The live page over real runs: one that trains while it is watched, and its files copied into folders piece by piece. What is
 * sent is read as a browser reads it; a browser itself is in browser.test.ts.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { parseHTML } from 'linkedom';
import { findInstalledEngine } from '../../../src/engine/install/installed.js';
import { watchRuns } from '../../../src/report/live/watch.js';
import { renderPage } from '../../../src/report/page.js';
import { readRunRecord } from '../../../src/report/read.js';
import { runFiles } from '../../../src/run/folder.js';
import {
  cliPath,
  temporaryFolder as makeFolder,
  merge,
  modulesLoadedBy,
  packagesOf,
  tinyzero,
} from '../../helpers/cli.js';
import { followEvents } from '../../helpers/events.js';
import { temporaryFolder } from '../../helpers/files.js';
import { damage, fuzz, pick } from '../../helpers/fuzz.js';
import { beginOrResume, longerRun } from '../../helpers/runs.js';

const engine = findInstalledEngine() === undefined ? 'wasm' : 'tensorflow';
const root = makeFolder('watch');
const run = join(root, 'a run');
before(async () => {
  assert.equal((await tinyzero(beginOrResume(run, engine))).code, 0);
});
after(() => rmSync(root, { recursive: true, force: true }));

/** `tinyzero watch … --json`, and the lines it prints. */
async function watchCommand(t: TestContext, ...folders: string[]) {
  const child = spawn(process.execPath, [cliPath, 'watch', ...folders, '--json'], {
    env: merge({}),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const lines = linesOf(child);
  const listening = await lines.next();
  assert.equal(listening.event, 'listening');
  assert.deepEqual(listening.runs, folders);
  return { child, lines, url: String(listening.url) };
}

function linesOf(child: ChildProcess) {
  const waiting: ((line: Record<string, unknown>) => void)[] = [];
  const found: Record<string, unknown>[] = [];
  let text = '';
  child.stdout!.setEncoding('utf8').on('data', (part: string) => {
    text += part;
    const parts = text.split('\n');
    text = parts.pop()!;
    for (const line of parts) {
      const record = JSON.parse(line);
      const resolve = waiting.shift();
      if (resolve) resolve(record);
      else found.push(record);
    }
  });
  return {
    next: () =>
      new Promise<Record<string, unknown>>((resolve) => {
        const record = found.shift();
        if (record) resolve(record);
        else waiting.push(resolve);
      }),
  };
}

const textOf = (markup: string) =>
  parseHTML(`<!doctype html><html><body>${markup}</body></html>`).document.body.textContent.replaceAll('\u2060', '');
const mainOf = (page: string) => parseHTML(page).document.querySelector('main')!.innerHTML;
const headingOf = (opening: string) => textOf(/<h1>([\s\S]*?)<\/h1>/.exec(opening)![1]!);

test('a run is followed from before its start to its verdict, and its page is then its report', async (t) => {
  const folder = join(temporaryFolder(t), 'long run');
  const { child, lines, url } = await watchCommand(t, folder);
  assert.equal((await lines.next()).state, 'waiting');
  const first = await (await fetch(url)).text();
  assert.match(textOf(mainOf(first)), /There is no run here yet/);
  const version = Number(/data-version="(\d+)"/.exec(first)![1]);
  const events = await followEvents(url, version);
  const training = tinyzero(['train', ...longerRun, '--out', folder, '--engine', engine, '--no-install']);

  const headings: string[] = [];
  const announced: string[] = [];
  const parts = new Map<string, string[]>();
  for (;;) {
    const { event, data } = await events.next();
    assert.equal(event, 'update');
    for (const [key, markup] of Object.entries<string>(data.parts)) parts.set(key, [...(parts.get(key) ?? []), markup]);
    if (data.parts.opening) headings.push(headingOf(data.parts.opening));
    announced.push(data.announcement);
    if (/^Finished/.test(data.title)) {
      assert.deepEqual(data.order[0], 'before-after', 'the order of the report');
      assert.ok(!data.order.includes('rollouts'));
      break;
    }
  }
  assert.equal((await training).code, 0);
  assert.ok(
    headings.some((heading) => /^Evaluation before: under way/.test(heading)),
    headings.join('\n'),
  );
  assert.ok(
    headings.some((heading) => /^Stage 2: \d+ of 30 updates/.test(heading)),
    headings.join('\n'),
  );
  assert.match(headings.at(-1)!, /held-out accuracy/);
  assert.ok(
    announced.some((text) => /^Stage 2, \d0 % done\.$/.test(text)),
    announced.join('\n'),
  );
  assert.match(announced.at(-1)!, /^Finished\. .*held-out accuracy/);
  assert.ok(parts.get('training')!.length >= 2, 'curves grow');
  assert.match(
    textOf(parts.get('rollouts')!.at(-1)!),
    /The last 12 of \d+ rollouts.*reward [\d.]+.*(more|less) likely/s,
  );
  assert.ok(parts.get('nav')!.at(-1)!.includes('#training'));

  // What a browser has assembled, what it would load now, and the report are the same.
  const report = mainOf(renderPage([readRunRecord(folder)]).page).trim();
  assert.equal(mainOf(await (await fetch(url)).text()).trim(), report);
  for (const [key, markups] of parts) {
    if (key === 'nav' || key === 'rollouts') continue;
    assert.ok(
      report.includes(parseHTML(`<!doctype html><html><body>${markups.at(-1)}</body></html>`).document.body.innerHTML),
      key,
    );
  }
  let line = await lines.next();
  while (line.state !== 'finished') line = await lines.next();
  assert.match(String(line.sentence), /held-out accuracy/);

  const allowed = new Set<string>(Object.values(runFiles));
  assert.deepEqual(
    readdirSync(folder).filter((name) => !allowed.has(name)),
    [],
    'watching leaves nothing behind',
  );
  const exit = once(child, 'exit');
  child.kill('SIGINT');
  const last = await events.next();
  assert.equal(last.event, 'over');
  assert.match(last.data, /`.*watch '?.*long run'?` opens it again/);
  assert.deepEqual(await exit, [0, null]);
});

/** Files of the run in the order in which it wrote them. */
const written = ['problems', 'config', 'evalBefore', 'vStar', 'probe', 'metrics', 'rollouts', 'timings'] as const;

function copied(t: TestContext, names: readonly (keyof typeof runFiles)[] = written, name = 'copy'): string {
  const folder = join(temporaryFolder(t), name);
  mkdirSync(folder);
  for (const each of names) cpSync(join(run, runFiles[each]), join(folder, runFiles[each]));
  return folder;
}

async function watched(t: TestContext, first: string, ...others: string[]) {
  const states: string[] = [];
  const watching = await watchRuns({
    paths: [first, ...others],
    port: 0,
    onState: ({ name, state }, sentence) => states.push(`${name} ${state}: ${sentence}`),
  });
  t.after(() => watching.close('test over'));
  const page = async () => {
    const response = await fetch(watching.url);
    assert.equal(response.status, 200);
    return textOf(mainOf(await response.text()));
  };
  return { ...watching, page, states };
}

test('a folder that another machine fills file by file shows what is there', async (t) => {
  const folder = join(temporaryFolder(t), 'remote');
  const { page } = await watched(t, folder);
  assert.match(await page(), /no run here yet/);
  mkdirSync(folder);
  assert.match(await page(), /no run here yet/);
  const add = (name: keyof typeof runFiles) => cpSync(join(run, runFiles[name]), join(folder, runFiles[name]));
  add('problems');
  assert.match(await page(), /no run here yet/);
  add('config');
  assert.match(await page(), /Running.*Evaluation before: under way/s);
  add('evalBefore');
  assert.match(await page(), /Stage 1: 0 of \d+ problems/);
  add('vStar');
  add('probe');
  assert.match(await page(), /Stage 2: 0 of 5 updates.*Could training learn anything/s);
  const log = readFileSync(join(run, runFiles.metrics), 'utf8').split('\n');
  writeFileSync(join(folder, runFiles.metrics), `${log[0]}\n${log[1]!.slice(0, 40)}`);
  assert.match(await page(), /Stage 2: 1 of 5 updates/);
  appendFileSync(join(folder, runFiles.metrics), `${log[1]!.slice(40)}\n${log[2]}\n${log[3]}\n${log[4]}\n`);
  add('rollouts');
  add('timings');
  const full = await page();
  assert.match(full, /Evaluation after: under way.*Held out, greedy/s);
  assert.match(full, /Newest rollouts/);
  // Resumed from an earlier checkpoint: the log is cut.
  truncateSync(join(folder, runFiles.metrics), log[0]!.length + 1 + log[1]!.length + 1);
  assert.match(await page(), /Stage 2: 2 of 5 updates/);
  add('metrics');
  add('evalAfter');
  assert.match(await page(), /held-out accuracy .*→/);
});

test('half-copied and damaged files never break the page; one that stays damaged is named', async (t) => {
  const folder = copied(t);
  const { page } = await watched(t, folder);
  await page();
  const names = written.map((name) => runFiles[name]);
  const whole = new Map(names.map((name) => [name, readFileSync(join(folder, name))]));
  fuzz(25, (random) => {
    const name = pick(names, random);
    const bytes = whole.get(name)!;
    writeFileSync(
      join(folder, name),
      random() < 0.5 ? bytes.subarray(0, random() * bytes.length) : damage(bytes, random),
    );
  });
  assert.match(await page(), /Stage/);
  for (const [name, bytes] of whole) writeFileSync(join(folder, name), bytes);
  await page();
  writeFileSync(join(folder, runFiles.evalBefore), '{');
  assert.doesNotMatch(await page(), /not valid JSON/);
  let text = '';
  for (const end = performance.now() + 20_000; performance.now() < end && !/not valid JSON/.test(text); ) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    text = await page();
  }
  assert.match(text, /eval-before\.json is not valid JSON/);
  assert.match(text, /Before training/, 'the last good reading stays');
});

test('a run that is removed stays on the page, and one that comes back is followed', async (t) => {
  const folder = copied(t);
  const { page, states } = await watched(t, folder);
  const before = await page();
  assert.match(before, /Evaluation after: under way/);
  rmSync(folder, { recursive: true });
  const gone = await page();
  assert.match(gone, /The folder of the run is gone.*Newest rollouts/s);
  mkdirSync(folder);
  for (const name of written) cpSync(join(run, runFiles[name]), join(folder, runFiles[name]));
  assert.match(await page(), /Evaluation after: under way/);
  const end = performance.now() + 10_000;
  while (states.length === 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.match(states[0]!, /^copy running: Evaluation after: under way$/);
});

test('several runs are overlaid, with the state of each', async (t) => {
  const second = copied(t, written, 'second');
  const missing = join(temporaryFolder(t), 'third');
  const { url } = await watched(t, run, second, missing);
  const { document } = parseHTML(await (await fetch(url)).text());
  const list = [...document.querySelectorAll('.watched li')].map((item) => item.textContent);
  assert.equal(list.length, 3);
  assert.match(list[0]!, /a run.*Finished/);
  assert.match(list[1]!, /second.*Evaluation after, under way/);
  assert.match(list[2]!, /third.*Waiting/);
  assert.match(document.querySelector('#compared')!.textContent, /Runs compared.*second/s);
  assert.equal(document.querySelectorAll('#training .legend li').length, 2);
});

test('train --watch prints the address, shows the run, tells the page that the run is over, and ends', async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  const args = [...beginOrResume(folder, engine), '--watch', '--quiet', '--json'];
  const child = spawn(process.execPath, [cliPath, ...args], { env: merge({}), stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  const url = await new Promise<string>((resolve) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      const address = /^Watch it at (http:\S+)$/m.exec(stderr)?.[1];
      if (address !== undefined) resolve(address);
    });
  });
  const events = await followEvents(url, 0);
  let [event, data] = ['', { title: '' }];
  let title = '';
  do {
    ({ event, data } = await events.next());
    if (event === 'update') title = data.title;
  } while (event !== 'over');
  assert.match(title, /^Finished/, 'the last state comes before the end');
  assert.match(String(data), /The run has ended\. `.*report .*run --open` or `.*watch .*run` shows it again\./);
  assert.deepEqual(await once(child, 'close'), [0, null]);
  assert.equal(JSON.parse(stdout.trimEnd().split('\n').at(-1)!).updates, 5);
  assert.equal(stderr, `Watch it at ${url}\n`, '--quiet hides everything else');
  await assert.rejects(fetch(url));
});

test('a run that fails ends its page too', async (t) => {
  const missing = join(temporaryFolder(t), 'missing');
  const { code, stderr } = await tinyzero(['train', '--resume', missing, '--watch', '--engine', 'wasm']);
  assert.equal(code, 1);
  assert.match(stderr, /^Watch it at http.*\n.*contains no run/);
  assert.ok(!existsSync(missing));
});

test('impossible ports and flags are refused', async (t) => {
  const { url, port } = await watched(t, run);
  assert.ok(url.includes(`:${port}/`));
  const inUse = await tinyzero(['watch', run, '--port', String(port)]);
  assert.deepEqual([inUse.code, inUse.stdout], [1, '']);
  assert.match(inUse.stderr, /^tinyzero: Port \d+ is in use\. Choose another with --port/);
  // The address is there at once: the chart library is loaded when a browser asks, the tensor library never.
  const { code, loaded } = await modulesLoadedBy(['watch', run, '--port', String(port)]);
  assert.equal(code, 1);
  assert.ok(loaded.some((url) => url.endsWith('/report/live/watch.js')));
  assert.deepEqual(
    packagesOf(loaded).filter((name) => /observable|d3|linkedom|tensorflow|huggingface/.test(name)),
    [],
  );
  const training = await tinyzero(['train', '--watch', '--port', String(port), '--out', join(root, 'never')]);
  assert.equal(training.code, 1);
  assert.match(training.stderr, /is in use/);
  assert.ok(!existsSync(join(root, 'never')));
  for (const words of [
    ['watch'],
    ['watch', run, '--port', '70000'],
    ['train', '--port', '8123'],
    ['watch', run, 'v_star.json'],
    ['sft', '--data', 'x', '--open'],
  ]) {
    assert.equal((await tinyzero(words)).code, 2, words.join(' '));
  }
});
