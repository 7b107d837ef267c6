/**
 * The live page of a set of runs, and of files of stage 1: a set that trains while it is watched, copies of its files piece by
 * piece, and files that the test writes.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { parseHTML } from 'linkedom';
import { findInstalledEngine } from '../../../src/engine/install/installed.js';
import { watchRuns } from '../../../src/report/live/watch.js';
import { runFiles } from '../../../src/run/folder.js';
import { type VStarEntry, type VStarFile, writeVStarFile } from '../../../src/stage1/v-star-file.js';
import { assertAccessible, threeSizes } from '../../helpers/axe.js';
import { browserTest } from '../../helpers/chromium.js';
import { cliPath, temporaryFolder as makeFolder, merge, tinyzero } from '../../helpers/cli.js';
import { followEvents } from '../../helpers/events.js';
import { temporaryFolder } from '../../helpers/files.js';
import { shortRun } from '../../helpers/runs.js';

const engine = findInstalledEngine() === undefined ? 'wasm' : 'tensorflow';
const flags = ['--engine', engine, '--no-install', '--quiet'];
const root = makeFolder('watch-set');
const set = join(root, 'two');
after(() => rmSync(root, { recursive: true, force: true }));

const textOf = (markup: string) =>
  parseHTML(`<!doctype html><html><body>${markup}</body></html>`).document.body.textContent.replaceAll('\u2060', '');
const mainOf = (page: string) => parseHTML(page).document.querySelector('main')!.innerHTML;

/** Runs a command with --watch; returns what its page was sent until it ended. */
async function followed(t: TestContext | undefined, args: readonly string[]) {
  const child = spawn(process.execPath, [cliPath, ...args], { env: merge({}), stdio: ['ignore', 'ignore', 'pipe'] });
  t?.after(() => child.kill('SIGKILL'));
  let stderr = '';
  const url = await new Promise<string>((resolve, reject) => {
    child.on('exit', () => reject(new Error(stderr)));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      const address = /^Watch it at (http:\S+)$/m.exec(stderr)?.[1];
      if (address !== undefined) resolve(address);
    });
  });
  const events = await followEvents(url, 0);
  const titles: string[] = [];
  const openings: string[] = [];
  let order: string[] = [];
  for (let { event, data } = await events.next(); event !== 'over'; { event, data } = await events.next()) {
    titles.push(data.title);
    order = data.order;
    if (data.parts.opening) openings.push(textOf(data.parts.opening));
  }
  assert.deepEqual(await once(child, 'close'), [0, null], stderr);
  return { titles, openings, order };
}

let live: Awaited<ReturnType<typeof followed>>;
before(async () => {
  live = await followed(undefined, [
    ...['train', ...shortRun.filter((word, i) => word !== '--seed' && shortRun[i - 1] !== '--seed')],
    ...['--seeds', '1..2', '--parallel', '1', '--watch', '--out', set, ...flags],
  ]);
});

test('train --seeds --watch shows the runs as they go, and at the end the report of the set', () => {
  const { titles, openings, order } = live;
  // How much of the way is seen depends on the machine.
  for (const title of titles) assert.match(title, /^[\w ]+ · two · tinyzero watch$/);
  assert.match(titles.at(-1)!, /^Finished · two · /);
  assert.match(openings.at(-1)!, /over 2 seeds: held-out/);
  assert.deepEqual(order, ['runs', 'training', 'problems', 'repeat']);
});

test('train --resume SET --watch serves a page too, which ends at once if nothing is left to do', async () => {
  // The page may be gone before a client connects, so only its address is read.
  const { code, stderr } = await tinyzero(['train', '--resume', set, '--watch', ...flags]);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^Watch it at http:\S+$/m);
});

async function watched(t: TestContext, path: string, ...others: string[]) {
  const states: string[] = [];
  const watching = await watchRuns({
    paths: [path, ...others],
    port: 0,
    onState: ({ name, state }, sentence) => states.push(`${name} ${state}: ${sentence}`),
  });
  t.after(() => watching.close('test over'));
  const page = async () => textOf(mainOf(await (await fetch(watching.url)).text()));
  return { page, states, url: watching.url };
}

test('a set that another machine fills: the runs so far are overlaid, and a removed set stays', async (t) => {
  const folder = join(temporaryFolder(t), 'copy');
  const { page } = await watched(t, folder);
  assert.match(await page(), /There is no run here yet/);
  mkdirSync(folder);
  cpSync(join(set, 'plan.json'), join(folder, 'plan.json'));
  assert.match(await page(), /Stopped; 0 of 2 runs are finished.*Resume with `tinyzero train --resume/s);
  for (const name of ['seed-1', 'seed-2']) {
    mkdirSync(join(folder, name));
    const files = Object.values(runFiles).filter((file) => file.includes('.') && existsSync(join(set, name, file)));
    for (const file of files) if (file !== runFiles.evalAfter) cpSync(join(set, name, file), join(folder, name, file));
  }
  const half = await page();
  assert.match(half, /0 of 2 runs are finished, 2 are under way.*seed-1.*Evaluation after, under way/s);
  assert.match(half, /Training, all runs overlaid.*2 runs\. Thin lines are single runs/s);
  assert.match(half, /seed-1: the last 12 of \d+ rollouts/);
  cpSync(join(set, 'seed-1', runFiles.evalAfter), join(folder, 'seed-1', runFiles.evalAfter));
  assert.match(await page(), /1 of 2 runs is finished, 1 is under way.*left/s);
  rmSync(folder, { recursive: true });
  assert.match(await page(), /The folder of the runs is gone.*Training, all runs overlaid/s);
});

test('a set next to a run is shown run by run; tinyzero report writes the page of the set', async (t) => {
  const { page, url } = await watched(t, set, join(set, 'seed-1'));
  await page();
  const { document } = parseHTML(await (await fetch(url)).text());
  assert.equal(document.querySelectorAll('.watched li').length, 0, 'all are finished');
  assert.match(document.querySelector('#compared')!.textContent, /seed-1.*seed-2/s);
  const out = join(temporaryFolder(t), 'set.html');
  assert.equal((await tinyzero(['report', set, '--out', out])).code, 0);
  assert.ok(existsSync(out));
});

browserTest('the page of a set: axe finds nothing serious, half-way and at the end', async (browser, t) => {
  const folder = join(temporaryFolder(t), 'half');
  cpSync(set, folder, { recursive: true });
  rmSync(join(folder, 'seed-2', runFiles.evalAfter));
  for (const [path, title] of [
    [folder, 'Running'],
    [set, 'Finished'],
  ] as const) {
    const { url } = await watched(t, path);
    for (const size of threeSizes) {
      const page = await browser.newPage({ ...size, reducedMotion: 'reduce' });
      await page.goto(url);
      await page.locator('#training svg.plot').first().waitFor();
      assert.match(await page.title(), /two|half/);
      await assertAccessible(page, title);
      await page.close();
    }
  }
});

/** The first `done` of the problems of shard `shard` of 2. */
function shard(number: number, done: number): VStarFile {
  const entry: VStarEntry = {
    rewards: [1, 0],
    exact: [true, false],
    parsed: [true, true],
    truncated: [false, false],
    lengths: [5, 6],
    texts: [1, 2],
  };
  const same = { model: 'm', tokenizer: 't', problems: 'p', prompt: 'q', sampling: 's', reward: 'r' };
  return {
    createdBy: 'tinyzero 0.0.0',
    fingerprint: same,
    beta1: 0.5,
    samples: 2,
    shards: { of: 2, have: [number], problems: 10 },
    entries: new Map(Array.from({ length: done }, (_, i) => [`${number}-${i}`, entry])),
  };
}

test('files of stage 1: the progress of each, one histogram, the verdict when all are complete', async (t) => {
  const folder = temporaryFolder(t);
  const [one, two] = [join(folder, 'part-1.json'), join(folder, 'part-2.json')];
  const { page, states } = await watched(t, one, two);
  assert.match(await page(), /There is no file here yet/);
  writeVStarFile(one, shard(1, 4));
  assert.match(
    await page(),
    /Waiting|Stage 1: 4 problems so far.*part-1\.json.*4 of 10 problems.*part-2\.json.*no file/s,
  );
  writeVStarFile(two, shard(2, 10));
  const half = await page();
  assert.match(half, /Stage 1: 14 of 20 problems.*2 samples of each problem.*part-1\.json.*4 of 10.*10 of 10/s);
  assert.match(half, /Stage 1 has sampled 14 of 20 training problems, 2 times each; the verdict needs all of them/);
  writeVStarFile(one, shard(1, 10));
  const whole = await page();
  assert.match(whole, /Finished.*Stage 1: 20 of 20 problems/s);
  assert.match(whole, /sampled each of 20 distinct training problems 2 times.*Go\./s);
  writeVStarFile(two, { ...shard(2, 10), samples: 2, beta1: 0.25 });
  assert.match(await page(), /file 2 does not belong to file 1: beta1 differs/);
  for (const end = performance.now() + 60_000; states.length < 2 && performance.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.match(states.join('\n'), /part-1\.json (finished|running|waiting): /);
  await assert.rejects(watchRuns({ paths: [one, folder], port: 0 }), /is a V\* file and .* a folder/);
  await assert.rejects(watchRuns({ paths: [join(set, 'seed-1', runFiles.config)], port: 0 }), /V\* file/);
});
