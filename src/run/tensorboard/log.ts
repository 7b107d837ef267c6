/**
 * @file `--tensorboard`: the metrics of a run as scalars in an event file. Whenever stage 2 starts or resumes, the file is
 * rebuilt from the run's logs, so that they agree; then every update appends to it.
 */
import { appendFileSync, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readEvaluation } from '../../policy/eval-compare.js';
import type { EvalSummary } from '../../policy/eval-summary.js';
import { explainWrites, writeFileAtomic } from '../../util/file.js';
import type { JsonRecord } from '../../util/json.js';
import type { TrainEvent } from '../events.js';
import type { RunFolder } from '../folder.js';
import { readLog } from '../logs.js';
import { eventRecord, fileHeader, type ScalarEvent } from './event-file.js';

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
  const add = (seconds: number, step: number, scalars: ScalarEvent['scalars']) => {
    if (elapsed === undefined) begin();
    elapsed! += seconds;
    const record = eventRecord({ wallTime: beginning(folder) + elapsed!, step, scalars });
    explainWrites(path, () => appendFileSync(path, record));
  };
  return (event) => {
    if (event.kind === 'stage2') begin();
    if (event.kind === 'step') {
      updates = event.metrics.step;
      add(event.seconds, updates, updateScalars({ ...event.metrics }));
    }
    if (event.kind === 'evaluated' && event.when === 'after') {
      if (elapsed === undefined) begin();
      add(event.seconds ?? 0, updates, evaluationScalars(event.summary));
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
  const records = [fileHeader(start)];
  if (existsSync(folder.file('evalBefore'))) {
    const scalars = evaluationScalars(readEvaluation(folder.file('evalBefore')));
    records.push(eventRecord({ wallTime: start + clock.before, step: 0, scalars }));
  }
  let [elapsed, updates] = [clock.before, 0];
  for (const record of readLog(folder.file('metrics'))) {
    updates = Number(record.step);
    elapsed = clock.steps.get(updates) ?? elapsed;
    records.push(eventRecord({ wallTime: start + elapsed, step: updates, scalars: updateScalars(record) }));
  }
  return { content: Buffer.concat(records), elapsed, updates };
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
