/** What may be given beside --resume: what the run has anyway, and what changes no result. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { lastLine, tinyzero } from '../../helpers/cli.js';
import { temporaryFolder } from '../../helpers/files.js';

const small = ['--num-samples', '1', '--eval-samples', '0', '--num-train', '8', '--num-test', '4', '--max-steps', '1'];

test('a resumed run of train keeps its options: others are refused, the same ones and a plan are not', async (t) => {
  const folder = temporaryFolder(t);
  const run = join(folder, 'run');
  const made = await tinyzero(['train', '--out', run, '--engine', 'wasm', '--force', '--quiet', ...small]);
  assert.equal(made.code, 0, made.stderr);
  const refused = async (given: readonly string[], message: RegExp) => {
    const { code, stderr } = await tinyzero(['train', '--resume', run, ...given]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  };
  await refused(
    ['--max-steps', '3', '--engine', 'tensorflow'],
    /Found --max-steps 3 \(the run has 1\), --engine tensorflow \(the run has wasm\)\. Omit these, or start a new run with --out\. With --resume, only --force, --tensorboard, --workers, and/,
  );
  await refused(
    ['--sampler-url', 'http://127.0.0.1:1/v1', '--no-force'],
    /Found --sampler-url http:\/\/127\.0\.0\.1:1\/v1\. /,
  );
  await refused(['--out', join(folder, 'other'), '--dry-run'], /Found --out /);
  await refused(['--config', run, '--lr', '1'], /Found --lr 1 \(the run has /);

  const planned = await tinyzero(['train', '--resume', run, ...small, '--engine', 'wasm', '--dry-run', '--json']);
  assert.equal(planned.code, 0, planned.stderr);
  assert.equal(lastLine(planned.stdout).updates, 1);
  const missing = await tinyzero(['train', '--resume', join(folder, 'none'), '--dry-run']);
  assert.match(missing.stderr, /none contains no run/);

  // Finished already, so that nothing is computed.
  const copy = join(folder, 'copy');
  cpSync(run, copy, { recursive: true });
  const again = await tinyzero(['train', '--resume', copy, '--config', run, '--force', '--quiet', '--json']);
  assert.equal(again.code, 0, again.stderr);
  assert.ok(readFileSync(join(copy, 'metrics.jsonl')).equals(readFileSync(join(run, 'metrics.jsonl'))));
});
