/** Runs of `sft`: resumed to the same bytes, used as models, listed and reported, refused with a reason. */
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { defaultSftOptions, type SftOptions } from '../../../src/options/sft-settings.js';
import type { SftEvent } from '../../../src/run/events.js';
import { sft } from '../../../src/run/sft/train.js';
import { silentReporter } from '../../../src/util/reporter.js';
import { lastLine, tinyzero } from '../../helpers/cli.js';
import { assertUserRejection } from '../../helpers/errors.js';
import { temporaryFolder } from '../../helpers/files.js';
import { runBytes } from '../../helpers/runs.js';

const data = 'examples/worked.jsonl';
const options = defaultSftOptions({ data, batchSize: 8, epochs: 2, saveEvery: 3, evalEvery: 4, seed: 3 });

function run(folder: string, given: Partial<SftOptions>, more: { resume?: boolean; stopAfter?: number } = {}) {
  const stop = new AbortController();
  const events: SftEvent[] = [];
  const request = { options: { ...options, ...given }, folder, resume: more.resume ?? false, install: false };
  const result = sft(
    { ...request, engine: 'wasm' },
    (event) => {
      events.push(event);
      if (event.kind === 'step' && event.metrics.step === more.stopAfter) stop.abort();
    },
    silentReporter,
    stop.signal,
  );
  return { result, events };
}

for (const [what, given] of [
  ['all weights', {}],
  ['adapters', { loraRank: 4, loraTargets: 'q_proj,down_proj' }],
] as const) {
  test(`a run of ${what} that was stopped twice ends with the bytes of one that was not`, async (t) => {
    const root = temporaryFolder(t);
    const [whole, stopped] = [join(root, 'whole'), join(root, 'stopped')];
    const { result } = run(whole, given);
    const { updates, before, after, lines } = await result;
    // 27 lines in batches of 8, twice.
    assert.deepEqual([updates, lines], [8, { train: 27, heldOut: 3 }]);
    assert.ok(after!.loss < before!.loss);
    await assert.rejects(run(stopped, given, { stopAfter: 1 }).result, /Resume with `tinyzero sft --resume/);
    await assert.rejects(run(stopped, {}, { resume: true, stopAfter: 5 }).result, /Stopped/);
    const last = run(stopped, {}, { resume: true });
    assert.deepEqual({ ...(await last.result), folder: whole }, { updates, before, after, lines, folder: whole });
    assert.deepEqual(
      last.events.flatMap((event) => (event.kind === 'resumed' ? [event.step] : [])),
      [5],
    );
    assert.deepEqual(runBytes(stopped), runBytes(whole));
    // A finished run is left as it is.
    await run(stopped, {}, { resume: true }).result;
    assert.deepEqual(runBytes(stopped), runBytes(whole));
  });
}

test('the whole command: plan, run, list, report, the model in use, and refusals', async (t) => {
  const root = temporaryFolder(t);
  const out = join(root, 'run');
  const wasm = ['--engine', 'wasm'];
  const ok = async (...args: string[]) => {
    const { code, stdout, stderr } = await tinyzero(args);
    assert.equal(code, 0, stderr);
    return { stdout, stderr };
  };
  const sized = ['--epochs', '1', '--batch-size', '9', ...wasm];
  const plan = lastLine((await ok('sft', '--data', data, '--dry-run', '--json', ...sized)).stdout);
  assert.deepEqual([plan.updates, plan.lines, plan.shortfalls], [3, { train: 27, heldOut: 3 }, []]);
  assert.ok(plan.longest > 30 && plan.memory[0].bytes > 0);
  assert.ok(!existsSync(out));

  const { stdout, stderr } = await ok('sft', '--data', data, '--out', out, ...sized);
  assert.match(stdout, /^The held-out loss fell from \d\.\d{3} to \d\.\d{3} nats per token\.\n3 updates, /);
  assert.match(stderr, /Update 3 of 3: loss \d/);
  assert.equal(readFileSync(join(out, 'examples.jsonl'), 'utf8'), readFileSync(data, 'utf8'));
  const page = readFileSync(join(out, 'report.html'), 'utf8');
  assert.match(page, /The held.out loss fell|loss fell/);
  assert.match(page, /tinyzero sft/);
  await ok('report', out, '--compare', out, '--out', join(root, 'again.html'));
  assert.match(readFileSync(join(root, 'again.html'), 'utf8'), /class="legend"/);
  const [entry] = lastLine((await ok('runs', root, '--json')).stdout).runs;
  assert.deepEqual([entry.algo, entry.state, entry.updates], ['sft', 'finished', 3]);
  const generated = await ok('generate', '--model', out, '--prompt', 'What is 7 × 8?', '--temperature', '0', ...wasm);
  assert.match(generated.stdout, /answer: \d+/);

  const refused = async (code: number, reason: RegExp, ...args: string[]) => {
    const result = await tinyzero(args);
    assert.equal(result.code, code, result.stderr);
    assert.match(result.stderr, reason);
  };
  await refused(2, /--data is missing: a file of JSON lines.*A line looks like/, 'sft', ...wasm);
  await refused(1, /already contains a run/, 'sft', '--data', data, '--out', out, ...wasm);
  await refused(1, /contains a run of `tinyzero sft`, not of `tinyzero train`/, 'train', '--resume', out, ...wasm);
  await refused(2, /--prompt-style: chat needs/, 'sft', '--data', data, '--prompt-style', 'chat', ...wasm);
  await refused(1, /Line 1 of .*cannot spell "H"/, 'sft', '--data', bad(root), ...wasm);
});

function bad(root: string): string {
  const path = join(root, 'bad.jsonl');
  appendFileSync(path, '{"prompt": "Hello", "completion": "answer: 1"}\n');
  return path;
}

test('changed lines and another model are refused when a run is resumed', async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  await assert.rejects(run(folder, {}, { stopAfter: 1 }).result, /Stopped/);
  appendFileSync(join(folder, 'examples.jsonl'), '{"prompt": "What is 2 × 2?", "completion": "answer: 4"}\n');
  await assertUserRejection(
    run(folder, {}, { resume: true }).result,
    /examples\.jsonl was changed after the run wrote it/,
  );
});
