/** `train --tensorboard`: what the event file says is what the run's logs say, also after an interruption. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readEvaluation } from '../../src/policy/eval-compare.js';
import { readLog } from '../../src/run/logs.js';
import { readVStarFile } from '../../src/stage1/v-star-file.js';
import { mean } from '../../src/util/statistics.js';
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
  const { entries } = readVStarFile(join(run, 'v_star_dict.json'));
  const all = [...entries.values()];
  const flat = (name: 'exact' | 'parsed' | 'truncated' | 'rewards') =>
    mean(all.flatMap((entry) => entry[name].map(Number)));
  const share = (test: (exact: readonly boolean[]) => boolean) => mean(all.map(({ exact }) => Number(test(exact))));
  add('stage1/passAt1', 0, flat('exact'));
  add(
    'stage1/passAtN',
    0,
    share((exact) => exact.includes(true)),
  );
  add('stage1/meanReward', 0, flat('rewards'));
  add('stage1/truncatedRate', 0, flat('truncated'));
  add('stage1/parseFailRate', 0, 1 - flat('parsed'));
  add(
    'stage1/allWrong',
    0,
    share((exact) => !exact.includes(true)),
  );
  add(
    'stage1/allRight',
    0,
    share((exact) => !exact.includes(false)),
  );
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
  assert.deepEqual(
    readEvents(readFileSync(file(run))).flatMap(({ step, plugins }) =>
      Object.entries(plugins).map((each) => [step, ...each]),
    ),
    [
      [0, '_hparams_/session_start_info', 'hparams'],
      [0, 'heldOut/completions', 'text'],
      [0, 'stage1/exactSamples', 'histograms'],
      [5, 'heldOut/completions', 'text'],
      [5, '_hparams_/session_end_info', 'hparams'],
    ],
  );

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
    const plugins = runPython(
      `
import json, sys
from tensorboard.backend.event_processing import plugin_event_multiplexer as multiplexer
from tensorboard.backend.event_processing import data_provider
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util
events = multiplexer.EventMultiplexer(tensor_size_guidance={"text": 100, "histograms": 100, "hparams": 100})
events.AddRun(json.load(sys.stdin), "run")
events.Reload()
run = events.GetAccumulator("run") if hasattr(events, "GetAccumulator") else events._accumulators["run"]
text = [tensor_util.make_ndarray(each.tensor_proto).item().decode() for each in events.Tensors("run", "heldOut/completions")]
histogram = [tensor_util.make_ndarray(each.tensor_proto).tolist() for each in events.Tensors("run", "stage1/exactSamples")]
content = run.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
data = plugin_data_pb2.HParamsPluginData.FromString(content)
hparams = {name: (value.number_value if value.HasField("number_value") else value.string_value if value.HasField("string_value") else value.bool_value) for name, value in data.session_start_info.hparams.items()}
print(json.dumps([text, histogram, hparams]))`,
      join(run, 'tensorboard'),
    ) as [string[], number[][][], Record<string, unknown>];
    const [texts, histograms, hparams] = plugins;
    assert.equal(texts.length, 2);
    assert.match(texts[0]!, /^\| problem \| greedy answer \| \|\n.*What is/s);
    const counts = histograms[0]!.map(([, , count]) => count!);
    assert.equal(counts.length, 5, 'from no to all four samples exact');
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      readVStarFile(join(run, 'v_star_dict.json')).entries.size,
    );
    const { options } = JSON.parse(readFileSync(join(run, 'config.json'), 'utf8'));
    assert.deepEqual(hparams, Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null)));

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
