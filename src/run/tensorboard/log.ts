/**
 * @file `--tensorboard`: writes a run as an event file, with its metrics as scalars, its options as hyperparameters, a few
 * completions as texts, and stage 1 as scalars and a histogram. Whenever stage 2 starts or resumes, the file is rebuilt from
 * the run's logs, so that they agree; then every update appends to it.
 */
import { appendFileSync, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Message } from '../../engine/graph/protobuf.js';
import { readEvaluation } from '../../policy/eval-compare.js';
import type { EvalSummary } from '../../policy/eval-summary.js';
import { readVStarFile, type VStarFile } from '../../stage1/v-star-file.js';
import { explainWrites, writeFileAtomic } from '../../util/file.js';
import { isRecord, type JsonRecord, readJsonRecord } from '../../util/json.js';
import { mean } from '../../util/statistics.js';
import type { TrainEvent } from '../events.js';
import type { RunFolder } from '../folder.js';
import { readLog } from '../logs.js';
import {
  endValue,
  eventRecord,
  fileHeader,
  histogramValue,
  hparamsValue,
  type SummaryEvent,
  textValue,
} from './event-file.js';

/** TensorBoard reads every file with `tfevents` in its name. */
const fileName = 'events.out.tfevents.tinyzero';

/** A listener that writes events to the file and forwards them to `onEvent`. */
export function withTensorboard(folder: RunFolder, onEvent: (event: TrainEvent) => void): (event: TrainEvent) => void {
  const path = join(folder.file('tensorboard'), fileName);
  /** Seconds of the run so far; undefined until the file exists. */
  let elapsed: number | undefined;
  let updates = 0;
  const begin = () => {
    const made = fileSoFar(folder);
    elapsed = made.elapsed;
    updates = made.updates;
    explainWrites(path, () => writeFileAtomic(path, made.content));
  };
  const add = (
    seconds: number,
    step: number,
    content: (wallTime: number) => Omit<SummaryEvent, 'wallTime' | 'step'>,
  ) => {
    if (elapsed === undefined) begin();
    elapsed! += seconds;
    const wallTime = beginning(folder) + elapsed!;
    const record = eventRecord({ wallTime, step, ...content(wallTime) });
    explainWrites(path, () => appendFileSync(path, record));
  };
  return (event) => {
    if (event.kind === 'stage2') begin();
    if (event.kind === 'step') {
      updates = event.metrics.step;
      const scalars = updateScalars({ ...event.metrics });
      add(event.seconds, updates, () => ({ scalars }));
    }
    if (event.kind === 'evaluated' && event.when === 'after') {
      if (elapsed === undefined) begin();
      const { summary } = event;
      add(event.seconds ?? 0, updates, (wallTime) => ({
        scalars: evaluationScalars(summary),
        values: [completions(summary), endValue(wallTime)],
      }));
    }
    onEvent(event);
  };
}

/** Start of the run, in seconds since 1970. */
function beginning(folder: RunFolder): number {
  return statSync(folder.file('config')).mtimeMs / 1000;
}

/** The file's content up to the newest update in the run's log. */
function fileSoFar(folder: RunFolder): { content: Uint8Array; elapsed: number; updates: number } {
  const start = beginning(folder);
  const clock = readClock(folder);
  const { options } = readJsonRecord(folder.file('config'));
  const hparams = hparamsValue(isRecord(options) ? options : {}, start);
  const records = [fileHeader(start), eventRecord({ wallTime: start, step: 0, values: [hparams] })];
  const atStart = { wallTime: start + clock.before, step: 0 };
  if (existsSync(folder.file('evalBefore'))) {
    const summary = readEvaluation(folder.file('evalBefore'));
    records.push(eventRecord({ ...atStart, scalars: evaluationScalars(summary), values: [completions(summary)] }));
  }
  if (existsSync(folder.file('vStar'))) {
    records.push(eventRecord({ ...atStart, ...stage1(readVStarFile(folder.file('vStar'))) }));
  }
  let [elapsed, updates] = [clock.before, 0];
  for (const record of readLog(folder.file('metrics'))) {
    updates = Number(record.step);
    elapsed = clock.steps.get(updates) ?? elapsed;
    records.push(eventRecord({ wallTime: start + elapsed, step: updates, scalars: updateScalars(record) }));
  }
  return { content: Buffer.concat(records), elapsed, updates };
}

/** A mean as a scalar; nothing where no value is known. */
const rates = (name: string, values: readonly number[]) => (values.length === 0 ? {} : { [name]: mean(values) });

/** Stage 1: statistics of its samples, and the number of problems for each count of exact samples. */
function stage1({ entries, samples }: VStarFile): Pick<SummaryEvent, 'scalars' | 'values'> {
  const counts = new Array<number>(samples + 1).fill(0);
  const all = [...entries.values()];
  for (const { exact } of all) counts[Math.min(exact.filter(Boolean).length, samples)]! += 1;
  const exactSamples = all.flatMap(({ exact }) => exact).map(Number);
  if (exactSamples.length === 0) return {};
  const share = (count: number) => count / all.length;
  return {
    scalars: {
      'stage1/passAt1': mean(exactSamples),
      'stage1/passAtN': 1 - share(counts[0]!),
      'stage1/meanReward': mean(all.flatMap(({ rewards }) => rewards)),
      ...rates(
        'stage1/truncatedRate',
        all.flatMap(({ truncated }) => truncated.map(Number)),
      ),
      ...rates(
        'stage1/parseFailRate',
        all.flatMap(({ parsed }) => parsed.map((is) => Number(!is))),
      ),
      'stage1/allWrong': share(counts[0]!),
      'stage1/allRight': share(counts[samples]!),
    },
    values: [histogramValue('stage1/exactSamples', counts)],
  };
}

const shownCompletions = 10;

/** Greedy answers to the first held-out problems, as a table. */
function completions({ perProblem }: EvalSummary): Message {
  const cell = (text: string) => `\`${JSON.stringify(text).replaceAll('|', '\\|').replaceAll('`', "'")}\``;
  const rows = perProblem
    .slice(0, shownCompletions)
    .map(({ id, greedy }) => `| ${cell(id)} | ${cell(greedy.completion)} | ${greedy.exact ? 'right' : 'wrong'} |`);
  return textValue('heldOut/completions', ['| problem | greedy answer | |', '| --- | --- | --- |', ...rows].join('\n'));
}

/** Seconds of work from the start of the run to the end of the evaluation before training, and to the end of each update. */
function readClock(folder: RunFolder): { before: number; steps: ReadonlyMap<number, number> } {
  let elapsed = 0;
  let before = 0;
  const steps = new Map<number, number>();
  for (const { phase, step, seconds } of readLog(folder.file('timings'))) {
    if (phase === 'stage2' || phase === 'process') continue; // sums of other lines
    elapsed += Number(seconds);
    if (phase === 'eval-before') before = elapsed;
    // For an update repeated after an interruption, the last repetition counts.
    if (step !== undefined) steps.set(Number(step), elapsed);
  }
  return { before, steps };
}

/** Every number in a line of metrics.jsonl. Held-out accuracy is grouped with that of the evaluations. */
function updateScalars(record: JsonRecord): Record<string, number> {
  const scalars: Record<string, number> = {};
  for (const [name, value] of Object.entries(record)) {
    if (typeof value !== 'number' || name === 'step') continue;
    scalars[name === 'heldOutGreedy' ? 'heldOut/greedyExact' : `train/${name}`] = value;
  }
  return scalars;
}

function evaluationScalars({ greedy, sampled }: EvalSummary): Record<string, number> {
  const scalars: Record<string, number> = {};
  for (const [part, figures] of Object.entries({ greedy, sampled })) {
    if (figures === undefined) continue;
    const { exact, meanReward, formatRate, truncatedRate, meanTokens } = figures;
    const all = { Exact: exact.rate, MeanReward: meanReward, FormatRate: formatRate };
    const more = { TruncatedRate: truncatedRate, MeanTokens: meanTokens };
    for (const [name, value] of Object.entries({ ...all, ...more })) scalars[`heldOut/${part}${name}`] = value;
  }
  return scalars;
}
