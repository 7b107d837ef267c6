import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plain } from '../../src/cli/terminal/paint.js';
import { trainProgress } from '../../src/cli/train-progress.js';
import type { TrainEvent } from '../../src/run/events.js';
import type { StepMetrics } from '../../src/stage2/step-metrics.js';
import { silentReporter, type WorkState } from '../../src/util/reporter.js';

function listen() {
  const lines: string[] = [];
  const states: WorkState[] = [];
  let ended = 0;
  const work = { update: (state: WorkState) => void states.push(state), hide: () => {}, end: () => void ended++ };
  const reporter = { ...silentReporter, line: (text: string) => void lines.push(text), work: () => work };
  const progress = trainProgress(reporter, plain);
  return { progress, lines, states, ended: () => ended };
}

const step = (number: number, reward: number, more: Partial<StepMetrics> = {}): TrainEvent => {
  const metrics = { step: number, reward, exactRate: reward / 2, kl: 0.25, signal: true, ...more } as StepMetrics;
  return { kind: 'step', metrics, updates: 12, seconds: 0.5 };
};

const evaluated = (greedy: number): TrainEvent => {
  const exact = { correct: 20 * greedy, total: 20, rate: greedy };
  return { kind: 'evaluated', when: 'before', summary: { greedy: { exact } }, seconds: 3 } as never;
};

test('stage 2: progress, the time of the evaluation to come, the curves', () => {
  const { progress, lines, states } = listen();
  progress.onEvent(evaluated(0.4));
  progress.onEvent({ kind: 'stage2', updates: 12 });
  for (let i = 1; i <= 12; i += 1) {
    progress.onEvent(step(i, i / 12, i % 6 === 0 ? { heldOutGreedy: 0.75 } : {}));
    const state = states.at(-1)!;
    assert.deepEqual([state.done, state.total, state.after], [i, 12, 3]);
    for (const line of state.details!(79)) assert.ok(line.length <= 79, line);
  }
  assert.equal(lines[0], 'Held-out accuracy before training: greedy 8 of 20 exact (40.0 %).');
  assert.match(lines[1]!, /^Stage 2: 12 updates in \d+ s\.$/);
  assert.deepEqual(lines.slice(2), [
    '  reward              0.083 ->   1.000  ▁▂▃▃▄▅▅▆▇▇██',
    '  training, sampled   4.2 % ->  50.0 %  ▁▁▂▂▂▃▃▃▄▄▄▅',
    '  held out, greedy   40.0 % ->  75.0 %  ▄▄▄▄▄▇▇▇▇▇▇▇',
  ]);
});

test('a log gets a line every fifth update and for every evaluation', () => {
  const { progress, states } = listen();
  progress.onEvent({ kind: 'stage2', updates: 12 });
  for (let i = 1; i <= 12; i += 1) {
    progress.onEvent(step(i, 0.5, i === 3 ? { heldOutGreedy: 0.8 } : i === 7 ? { signal: false } : {}));
  }
  assert.deepEqual(
    states.flatMap(({ note }) => note ?? []),
    [
      'Update 3 of 12: reward 0.500, exact 25.0 %, KL 0.25 nats, held out (greedy) 80.0 %',
      'Update 5 of 12: reward 0.500, exact 25.0 %, KL 0.25 nats',
      'Update 7 of 12: reward 0.500, exact 25.0 %, KL 0.25 nats, no signal',
      'Update 10 of 12: reward 0.500, exact 25.0 %, KL 0.25 nats',
      'Update 12 of 12: reward 0.500, exact 25.0 %, KL 0.25 nats',
    ],
  );
});

test('a resumed run: the curves start with the run, the clock when it is resumed', () => {
  const { progress, lines, states, ended } = listen();
  const history = [1, 2, 3].map((number) => ({ step: number, reward: 0.25, exactRate: 0.125 }) as StepMetrics);
  progress.onEvent({ kind: 'resumed', step: 3, history });
  progress.onEvent({ kind: 'stage2', updates: 12 });
  assert.deepEqual(states, [{ done: 3, total: 12 }]);
  for (let i = 4; i <= 12; i += 1) progress.onEvent(step(i, 0.75));
  assert.equal(lines[0], 'Resuming after update 3.');
  assert.match(lines[1]!, /^Stage 2: updates 4 to 12 in /);
  assert.match(lines[2]!, /0\.250 -> {3}0\.750 {2}▃▃▃▇{9}$/);
  assert.equal(ended(), 1);
  progress.end();
  assert.equal(ended(), 1, 'ended once');
});
