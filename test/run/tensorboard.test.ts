/** `train --tensorboard`: what the event file says is what the run's logs say, also after an interruption. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readEvaluation } from '../../src/policy/eval-compare.js';
import { readLog } from '../../src/run/logs.js';
import { tinyzero } from '../helpers/cli.js';
import { readEvents } from '../helpers/event-file.js';
import { temporaryFolder } from '../helpers/files.js';
import { runPython, withoutPython } from '../helpers/python.js';
import { runUntil, shortRun } from '../helpers/runs.js';

const engine = ['--engine', 'auto', '--no-install'];
const file = (run: string) => join(run, 'tensorboard', 'events.out.tfevents.tinyzero');

/** What the run's logs say, as `tag step value`. */
function expected(run: string): string[] {
  const points: string[] = [];
  const add = (tag: string, step: unknown, value: number) => points.push(`${tag} ${step} ${Math.fround(value)}`);
  let last: unknown = 0;
  const evaluation = (name: string, step: unknown) => {
    const { greedy, sampled } = readEvaluation(join(run, name));
    for (const [part, { exact, meanReward, formatRate, truncatedRate, meanTokens }] of [
      ['greedy', greedy],
      ['sampled', sampled!],
    ] as const) {
      add(`heldOut/${part}Exact`, step, exact.rate);
      add(`heldOut/${part}MeanReward`, step, meanReward);
      add(`heldOut/${part}FormatRate`, step, formatRate);
      add(`heldOut/${part}TruncatedRate`, step, truncatedRate);
      add(`heldOut/${part}MeanTokens`, step, meanTokens);
    }
  };
  evaluation('eval-before.json', 0);
  for (const { step, heldOutGreedy, signal: _, ...metrics } of readLog(join(run, 'metrics.jsonl'))) {
    for (const [name, value] of Object.entries(metrics)) add(`train/${name}`, step, value as number);
    if (heldOutGreedy !== undefined) add('heldOut/greedyExact', step, heldOutGreedy as number);
    last = step;
  }
  evaluation('eval-after.json', last);
  return points.sort();
}

function written(run: string): string[] {
  const [header, ...events] = readEvents(readFileSync(file(run)));
  assert.equal(header?.version, 'brain.Event:2');
  const times = events.map(({ wallTime }) => wallTime);
  assert.deepEqual(
    times,
    [...times].sort((a, b) => a - b),
    'time does not run back',
  );
  assert.ok(Math.abs(times[0]! * 1000 - Date.now()) < 600_000, 'seconds since 1970');
  return events
    .flatMap(({ step, scalars }) => Object.entries(scalars).map(([tag, value]) => `${tag} ${step} ${value}`))
    .sort();
}

async function interruptedRun(t: TestContext): Promise<string> {
  const run = join(temporaryFolder(t), 'run');
  const begin = ['train', ...shortRun, '--tensorboard', '--out', run, ...engine];
  const stopped = await runUntil(begin, 'SIGINT', (_, output) => /Update 3 of/.test(output));
  assert.equal(stopped.code, 130, stopped.stderr);
  // The option is the run's own: it need not be given again.
  const resumed = await tinyzero(['train', '--resume', run, ...engine]);
  assert.equal(resumed.code, 0, resumed.stderr);
  return run;
}

test('an interrupted run', async (t) => {
  const run = await interruptedRun(t);
  assert.deepEqual(written(run), expected(run));

  await t.test('a finished one without the file gets it when it is asked for', async () => {
    const copy = join(temporaryFolder(t), 'copy');
    cpSync(run, copy, { recursive: true, preserveTimestamps: true });
    rmSync(join(copy, 'tensorboard'), { recursive: true });
    const again = await tinyzero(['train', '--resume', copy, '--tensorboard', ...engine]);
    assert.equal(again.code, 0, again.stderr);
    assert.deepEqual(written(copy), expected(copy));
  });

  await t.test('TensorBoard reads the same', { skip: withoutPython('tensorboard') }, () => {
    const script = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(json.load(sys.stdin), size_guidance={"scalars": 0})
events.Reload()
print(json.dumps([[tag, each.step, each.value] for tag in events.Tags()["scalars"] for each in events.Scalars(tag)]))`;
    const read = runPython(script, join(run, 'tensorboard')) as [tag: string, step: number, value: number][];
    assert.deepEqual(read.map(([tag, step, value]) => `${tag} ${step} ${value}`).sort(), expected(run));
  });
});

test('without the option there are no event files', async (t) => {
  const run = join(temporaryFolder(t), 'run');
  const small = ['--num-train', '8', '--num-test', '2', '--epochs', '1', '--eval-samples', '0', '--num-samples', '2'];
  const { code, stderr } = await tinyzero(['train', ...small, '--out', run, ...engine]);
  assert.equal(code, 0, stderr);
  assert.equal(existsSync(join(run, 'tensorboard')), false);
});
