import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseSeeds } from '../../../src/options/spec.js';
import { argumentsOf, readPlan, writePlan } from '../../../src/run/many/plan.js';
import { readSweep } from '../../../src/run/many/sweep-file.js';
import { algorithmNames } from '../../../src/stage2/algorithm.js';
import { UserError } from '../../../src/util/errors.js';
import { temporaryFolder } from '../../helpers/files.js';

test('seeds: ranges, lists, and what is wrong with others', () => {
  assert.deepEqual(parseSeeds('1..5'), [1, 2, 3, 4, 5]);
  assert.deepEqual(parseSeeds('1,3,7'), [1, 3, 7]);
  assert.deepEqual(parseSeeds('0..1, 9'), [0, 1, 9]);
  for (const wrong of ['', '5..1', '1..', 'a', '1,,2', '-1', '1.5', '1;2'])
    assert.match(String(parseSeeds(wrong)), /expected seeds/);
  assert.match(String(parseSeeds('1..3,2')), /expected different seeds/);
  assert.match(String(parseSeeds('1..100000000')), /at most 1000/);
});

test('a grid: every combination, each with every seed, in TOML and JSON', (t) => {
  const folder = temporaryFolder(t);
  const toml = join(folder, 'grid.toml');
  writeFileSync(
    toml,
    'seeds = "1..2"\n[options]\nlr = [1e-4, 2e-4]\nalgo = ["apo", "grpo"]\nforce = true\nnum-train = 20\n',
  );
  const json = join(folder, 'grid.json');
  writeFileSync(
    json,
    '{"seeds": [1, 2], "options": {"lr": [1e-4, 2e-4], "algo": ["apo", "grpo"], "force": true, "numTrain": 20}}',
  );
  const plan = readSweep(toml);
  assert.deepEqual(readSweep(json), plan);
  assert.deepEqual(
    plan.settings.map(({ values }) => values),
    [
      { lr: '0.0001', algo: 'apo' },
      { lr: '0.0001', algo: 'grpo' },
      { lr: '0.0002', algo: 'apo' },
      { lr: '0.0002', algo: 'grpo' },
    ],
  );
  assert.equal(plan.runs.length, 8);
  assert.equal(plan.rankBy, 'train-reward', 'not by held-out results');
  const { name, flags } = plan.runs[3]!;
  assert.equal(name, 'trial-2-seed-2');
  assert.deepEqual(argumentsOf(flags), ['--force', '--num-train=20', '--lr=0.0001', '--algo=grpo', '--seed=2']);
  writePlan(folder, plan);
  assert.deepEqual(readPlan(folder), plan);
});

test('random settings: different, in their ranges, the same for a seed, and more trials only add', (t) => {
  const path = join(temporaryFolder(t), 'random.toml');
  const settings = (head: string, options: string) => {
    writeFileSync(path, `method = "random"\n${head}\n[options]\n${options}\n`);
    return readSweep(path).settings.map(({ values }) => values);
  };
  const ranges =
    'lr = { min = 1e-5, max = 1e-3, scale = "log" }\nbatch-size = { min = 4, max = 64 }\nalgo = ["apo", "grpo"]';
  const twenty = settings('trials = 20', ranges);
  assert.equal(new Set(twenty.map((values) => JSON.stringify(values))).size, 20);
  const rates = twenty.map(({ lr }) => Number(lr));
  assert.ok(rates.every((lr) => lr >= 1e-5 && lr <= 1e-3));
  const low = rates.filter((lr) => lr < 1e-4).length;
  assert.ok(low >= 4 && low <= 16, `half of them below the middle of the logarithms: ${low}`);
  assert.ok(twenty.every(({ batchSize }) => Number.isInteger(Number(batchSize)) && Number(batchSize) >= 4));
  assert.deepEqual(settings('trials = 5', ranges), twenty.slice(0, 5));
  assert.notDeepEqual(settings('trials = 5\nseed = 1', ranges), twenty.slice(0, 5));
  assert.equal(settings('trials = 4', 'lr = [1e-4, 2e-4]\nalgo = ["apo", "grpo"]').length, 4, 'all there are');
});

test('the examples are sweeps', () => {
  const { settings, runs } = readSweep('examples/sweep.toml');
  assert.deepEqual([settings.length, runs.length], [6, 18], 'as its comment says');
  // OAPL is for samplers that lag behind, which the example has none of.
  const compared = algorithmNames.filter((name) => name !== 'oapl');
  assert.equal(readSweep('examples/algorithms.toml').runs.length, 5 * compared.length);
});

test('all errors of a file are reported at once, with what was meant', (t) => {
  const path = join(temporaryFolder(t), 'wrong.toml');
  const fails = (text: string, ...patterns: RegExp[]) => {
    writeFileSync(path, text);
    assert.throws(
      () => readSweep(path),
      (error) => {
        assert.ok(error instanceof UserError && error.exitCode === 2, String(error));
        for (const pattern of patterns) assert.match(error.message, pattern);
        return true;
      },
    );
  };
  const some = '[options]\nlr = [1e-4, 2e-4]\n';
  fails('lr = [1, 2]', /lr: unknown \(options of the runs go under \[options\]\)/, /expected a table of options/);
  fails(`methd = "grid"\nseeds = "3..1"\n${some}`, /methd: unknown; did you mean method\?/, /seeds: expected seeds/);
  fails(`method = "bayes"\n${some}`, /method: expected grid or random, found "bayes"/);
  fails(`method = "random"\n${some}`, /needs the number of settings/);
  fails(`method = "random"\ntrials = 3\n${some}`, /3 exceeds the number of different settings, 2/);
  fails(`trials = 3\n${some}`, /a grid tries every combination/);
  fails('[options]\nlr = { min = 1e-5, max = 1e-3 }', /a grid needs a list/);
  fails('[options]\nlearning-rates = [1]', /options\.learning-rates: not an option of `tinyzero train`/);
  fails('[options]\nlrr = [1]', /did you mean lr\?/);
  fails('[options]\nlr = [1e-4, 1e-4]', /contains a value twice/);
  fails('[options]\nlr = [true]', /expected a value, a list of values/);
  fails('[options]\nseed = [1, 2]', /seeds = "1\.\.5"/);
  fails('[options]\nlr = 1e-4', /no option has a list of values/);
  fails(`command = "sft"\nrank-by = "train-exact"\n${some}`, /train-exact is a metric of `tinyzero train`/);
  fails(`seeds = "1..900"\n${some}`, /1800 runs: expected at most 1000/);
});
