/**
 * @file Records of runs for the report's tests, built by the code of real runs from outcomes that a test
 * chooses.
 */
import { heldOutSplits, multiplicationTask, type Product } from '../../src/data/multiplication.js';
import { buildProblemSet, type Problem } from '../../src/data/problem.js';
import { scoreCompletion } from '../../src/data/task.js';
import { completeSettings, defaultOptions, type TrainingOptions } from '../../src/options/settings.js';
import { type EvalSummary, summarizeEvaluation } from '../../src/policy/eval-summary.js';
import type { StepRecord } from '../../src/report/log-records.js';
import type { RunRecord } from '../../src/report/read.js';
import { preflight } from '../../src/stage1/preflight.js';
import type { VStarEntry } from '../../src/stage1/v-star-file.js';

export const task = multiplicationTask({
  min: 2,
  max: 12,
  heldOut: heldOutSplits.tiny,
  wording: 'builtin',
  reward: { kind: 'graded', read: 'stated' },
});

const model = { heldOut: 'tiny', hasChatTemplate: false, parameters: 413_000 } as const;

/** An evaluation in which `right` of the `samples` samples of each problem are right, the others are off by one. */
function evaluation(
  problems: readonly Problem[],
  right: (problem: Product, index: number) => number,
  { samples = 8, text = (answer: number) => `answer: ${answer}` } = {},
): EvalSummary {
  const outcomes = problems.map((problem, i) => {
    const value = problem.value as Product;
    const drawn = (isRight: boolean) => {
      const pieces = [...text(value.a * value.b + (isRight ? 0 : 1)), ''];
      const score = scoreCompletion(task, pieces.join(''), value, { finished: true });
      const logProbs = pieces.map((_, at) => -0.25 * at);
      return { text: pieces.join(''), score, finished: true, tokens: pieces.length, drawn: { pieces, logProbs } };
    };
    const count = right(value, i);
    return {
      problem: problem as Problem<Product>,
      greedy: drawn(count > samples / 2),
      samples: Array.from({ length: samples }, (_, sample) => drawn(sample < count)),
    };
  });
  return summarizeEvaluation(outcomes, { model: 'demo', task, temperature: 1 });
}

export interface RecordChange {
  readonly options?: Partial<TrainingOptions>;
  readonly steps?: number;
  readonly before?: (problem: Product, index: number) => number;
  /** Absent: the run is not finished. */
  readonly after?: (problem: Product, index: number) => number;
  readonly samples?: number;
  readonly text?: (answer: number) => string;
}

/** A run of the built-in task on 60 rows, whose every training problem has two right samples of four. */
export function runRecord({
  options = {},
  steps = 12,
  before = () => 2,
  after,
  samples,
  text,
}: RecordChange = {}): RunRecord {
  const settings = completeSettings(defaultOptions({ numTrain: 60, numTest: 20, ...options }), model);
  const problems = buildProblemSet(task, settings) as Pick<RunRecord['problems'], 'train' | 'rows' | 'test'>;
  const entry: VStarEntry = {
    rewards: [1, 1, 0, 0],
    exact: [true, true, false, false],
    parsed: [true, true, true, true],
    truncated: [false, false, false, false],
    lengths: [5, 5, 4, 4],
    texts: [1, 1, 2, 3],
  };
  const entries = new Map(problems.train.map(({ id }) => [id, entry]));
  const evaluated = { ...(samples !== undefined && { samples }), ...(text && { text }) };
  return {
    name: 'demo',
    path: 'runs/demo',
    stored: {
      options: settings,
      engine: 'wasm',
      modelHash: 'abc',
      problemsChecksum: '00000000',
      record: { createdBy: 'tinyzero 0.0.0', engineDescription: 'WebAssembly', node: 'v20' },
    },
    problems,
    before: evaluation(problems.test, before, evaluated),
    ...(after && { after: evaluation(problems.test, after, evaluated) }),
    stage1: {
      samplesPerProblem: 4,
      done: entries.size,
      total: entries.size,
      histogram: [0, 0, entries.size, 0, 0],
      entries,
      preflight: preflight([...entries.values()], { beta1: 0.5, trainOn: 'solved' }),
    },
    steps: Array.from({ length: steps }, (_, i) => stepRecord(i + 1)),
    rollouts: {
      count: 2 * steps,
      points: Array.from({ length: 2 * steps }, (_, i) => ({
        step: 1 + Math.floor(i / 2),
        problem: problems.train[0]!.id,
        reward: i % 2,
        advantage: (i % 2) - 0.5,
        delta: 0.1 * i,
      })),
      newest: [],
      ...(steps > 0 && {
        lastEpoch: {
          epoch: 1,
          firstStep: Math.ceil(steps / 2),
          lastStep: steps,
          tally: new Map([[problems.train[0]!.id, { right: 3, total: 4 }]]),
        },
      }),
    },
    timings: { phases: new Map([['eval-before', 1.5]]), updates: Array.from({ length: steps }, () => 0.25) },
  };
}

/** One that changes evenly with the step; every fifth has a held-out evaluation. */
export function stepRecord(step: number): StepRecord {
  return {
    step,
    epoch: Math.floor(step / 8),
    loss: 0.1,
    reward: step / 100,
    exactRate: step / 200,
    formatRate: 1,
    truncatedRate: 0,
    meanTokens: 10,
    kl: 0.01 * step,
    entropy: 0.3,
    gradientNorm: 0.01,
    learningRate: 1e-4,
    sampledTokens: 100 * step,
    ...(step % 5 === 0 && { heldOutGreedy: 0.5 }),
  };
}
