/** One flipped bit in any file of a run is noticed, and resuming ends with the bytes of an undamaged run. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { train } from '../../src/index.js';
import { trainedModel } from '../../src/run/checkpoints.js';
import { tinyzero } from '../helpers/cli.js';
import { filesOf, resumeDamaged } from '../helpers/damage.js';
import { assertUserError } from '../helpers/errors.js';
import { temporaryFolder } from '../helpers/files.js';
import { uniform } from '../helpers/fuzz.js';
import { runBytes, runUntil, shortRun } from '../helpers/runs.js';

const engine = ['--engine', 'auto', '--no-install'];

test('bit flips in a finished and in a stopped run', async (t) => {
  const root = temporaryFolder(t);
  const [whole, stopped, copy] = ['whole', 'stopped', 'copy'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  const first = await tinyzero(['train', ...shortRun, '--out', whole, ...engine]);
  assert.equal(first.code, 0, first.stderr);
  const interrupted = await runUntil(['train', ...shortRun, '--out', stopped, ...engine], 'SIGHUP', (_, output) =>
    /Update 3 of/.test(output),
  );
  assert.equal(interrupted.code, 130, interrupted.stderr);
  assert.match(interrupted.stderr, /Stopped\. Resume with `.*train --resume/);

  const random = uniform(1);
  for (const [run, files] of [
    [
      whole,
      [
        'config.json',
        'problems.json',
        'eval-before.json',
        'eval-after.json',
        'v_star_dict.json',
        'probe.json',
        'metrics.jsonl',
        'final.json',
        'final/model.safetensors',
        'final/tokenizer.json',
        'checkpoints/step-000005/state.json',
      ],
    ],
    [
      stopped,
      [
        ...['model.safetensors', 'optimizer.safetensors', 'tokenizer_config.json', 'config.json'].map((name) =>
          filesOf(stopped).findLast((file) => file.endsWith(`/${name}`)),
        ),
        'rollouts.jsonl',
      ],
    ],
  ] as const) {
    for (const file of files) {
      const outcome = await resumeDamaged(run, file!, whole, copy, random);
      assert.equal(outcome, file === 'config.json' ? 'refused' : 'repaired', file);
    }
  }

  await t.test('a finished run without its checkpoints stays finished', async () => {
    rmSync(join(whole, 'checkpoints'), { recursive: true });
    const before = runBytes(whole);
    await train({ folder: whole, resume: true, engine: 'auto', install: false });
    assert.deepEqual(runBytes(whole), before);
  });

  await t.test('a trained model with a missing file is not used', () => {
    rmSync(join(whole, 'final', 'tokenizer.json'));
    assertUserError(() => trainedModel(whole), /tokenizer\.json is damaged.*Found no file.*train --resume .*whole/);
  });
});
