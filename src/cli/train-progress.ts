/**
 * @file Shows the progress of a run of `train` or `sft` on the terminal: permanent lines, and a bar of its updates with
 * curves below it. All numbers are also in the run's files.
 */
import type { TokenLoss } from '../policy/row-loss.js';
import type { SftEvent, SftMetrics, TrainEvent } from '../run/events.js';
import type { StepMetrics } from '../stage2/step-metrics.js';
import { counted, formatSeconds, formatPercent as percent } from '../util/format.js';
import type { Reporter, Work, WorkState } from '../util/reporter.js';
import { describeAccuracy, describePreflight } from './run-summary.js';
import { columnsOf, type Paint } from './terminal/paint.js';
import { sparkline } from './terminal/table.js';

/** Updates between lines in a log. Updates with a held-out measurement always get a line. */
const lineEveryUpdates = 5;

export interface TrainProgress {
  onEvent(event: TrainEvent): void;
  /** Removes the bar from the screen; called when the run ends or fails. */
  end(): void;
}

export function trainProgress(reporter: Reporter, paint: Paint): TrainProgress {
  let heldOutBefore: number | undefined;
  /** Duration of the evaluation before training, which predicts that of the one after. */
  let evaluationSeconds: number | undefined;
  const progress = updateProgress<StepMetrics>(reporter, 'Stage 2', (history, width) =>
    curves(history, heldOutBefore, width),
  );
  return {
    onEvent(event) {
      switch (event.kind) {
        case 'opened':
          return reporter.line(describeJob(event));
        case 'evaluated': {
          const { when, summary, seconds } = event;
          if (when === 'before') {
            heldOutBefore = summary.greedy.exact.rate;
            evaluationSeconds = seconds;
          }
          return reporter.line(`Held-out accuracy ${when} training: ${describeAccuracy(summary)}.`);
        }
        case 'preflight':
          describePreflight(event.preflight, paint).forEach(reporter.line);
          if (event.secondsLeft === undefined) return;
          return reporter.line(`  About ${formatSeconds(event.secondsLeft)} left: stage 2 and the last evaluation.`);
        case 'resumed':
          return progress.resume(event.history);
        case 'stage2':
          return progress.start(event.updates);
        case 'step': {
          const { metrics, updates } = event;
          progress.add(metrics, updates, { after: evaluationSeconds, note: describeUpdate(metrics, updates) });
        }
      }
    },
    end: progress.end,
  };
}

function describeJob({ model, engine, problems }: Extract<TrainEvent, { kind: 'opened' }>): string {
  const { train, rows, test } = problems;
  return (
    `Training ${model} on ${engine}: ${rows.length} rows of ${train.length} distinct problems, ` +
    `${test.length} held-out problems.`
  );
}

/** An update's line in a log; undefined if it has none. */
function describeUpdate(metrics: StepMetrics, updates: number): string | undefined {
  const { step, reward, exactRate, kl, heldOutGreedy, signal } = metrics;
  if (step % lineEveryUpdates !== 0 && step !== updates && heldOutGreedy === undefined && signal) return undefined;
  const held = heldOutGreedy === undefined ? '' : `, held out (greedy) ${percent(heldOutGreedy)}`;
  const none = signal ? '' : ', no signal';
  return (
    `Update ${step} of ${updates}: reward ${reward.toFixed(3)}, exact ${percent(exactRate)}, ` +
    `KL ${kl.toFixed(2)} nats${held}${none}`
  );
}

/** Reward and accuracy over the updates, as curves from 0 to 1 with a common time axis. */
function curves(history: readonly StepMetrics[], heldOutBefore: number | undefined, width: number): string[] {
  if (history.length === 0) return [];
  const curve = (name: string, first: number, values: readonly number[], show: (value: number) => string) =>
    curveLines(name, [show(first), show(values.at(-1)!)], values, width);
  const rewards = history.map(({ reward }) => reward);
  const rates = history.map(({ exactRate }) => exactRate);
  const lines = [
    ...curve('reward', rewards[0]!, rewards, (value) => value.toFixed(3)),
    ...curve('training, sampled', rates[0]!, rates, percent),
  ];
  if (heldOutBefore !== undefined && history.some(({ heldOutGreedy }) => heldOutGreedy !== undefined)) {
    // Between two measurements, the earlier one is drawn.
    let held = heldOutBefore;
    const values = history.map(({ heldOutGreedy }) => {
      held = heldOutGreedy ?? held;
      return held;
    });
    lines.push(...curve('held out, greedy', heldOutBefore, values, percent));
  }
  return lines;
}

interface UpdateProgress<Metrics> {
  /** Resumes a run; `history` holds its updates so far. */
  resume(history: readonly Metrics[]): void;
  /** Starts with the first update that is not done. `updates`: of the whole run. */
  start(updates: number): void;
  /** An update has finished. `shown.note` is its line in a log. */
  add(metrics: Metrics, updates: number, shown: Pick<WorkState, 'after' | 'note'>): void;
  /** Removes the bar from the screen; called when the run ends or fails. */
  end(): void;
}

/** Most columns that the curves at the end take. */
const closingWidth = 79;

/** @param curves of the updates so far, as lines of at most `width` characters. */
function updateProgress<Metrics>(
  reporter: Reporter,
  title: string,
  curves: (history: readonly Metrics[], width: number) => string[],
): UpdateProgress<Metrics> {
  const history: Metrics[] = [];
  let work: Work | undefined;
  let startMs = 0;
  let done = 0;

  const finish = (updates: number) => {
    work?.end();
    work = undefined;
    const made = done === 0 ? counted(updates, 'update') : `updates ${done + 1} to ${updates}`;
    reporter.line(`${title}: ${made} in ${formatSeconds((performance.now() - startMs) / 1000)}.`);
    for (const line of curves(history, Math.min(closingWidth, columnsOf(process.stderr)))) reporter.line(line);
  };

  return {
    resume(earlier) {
      history.push(...earlier);
      done = history.length;
      reporter.line(`Resuming after update ${done}.`);
    },
    start(updates) {
      startMs = performance.now();
      work = reporter.work(title, 'updates');
      work.update({ done, total: updates });
    },
    add(metrics, updates, shown) {
      history.push(metrics);
      work?.update({
        done: history.length,
        total: updates,
        ...shown,
        details: (width) => curves(history, width),
      });
      if (history.length === updates) finish(updates);
    },
    end: () => work?.end(),
  };
}

/** Narrower curves get a line of their own. */
const minCurveWidth = 10;

/** The first and the latest value, and a curve of `levels`, which are from 0 to 1: one line, or two if it is narrow. */
function curveLines(
  name: string,
  [first, latest]: readonly [string, string],
  levels: readonly number[],
  width: number,
): string[] {
  const start = `  ${name.padEnd(17)} ${first.padStart(7)} -> ${latest.padStart(7)}`;
  const room = width - start.length - 2;
  if (room >= minCurveWidth) return [`${start}  ${sparkline(levels, room)}`];
  return [`  ${name} ${first} -> ${latest}`, `    ${sparkline(levels, width - 4)}`];
}

export function sftProgress(reporter: Reporter): { onEvent(event: SftEvent): void; end(): void } {
  const progress = updateProgress<SftMetrics>(reporter, 'Training', lossCurves);
  return {
    onEvent(event) {
      switch (event.kind) {
        case 'opened': {
          const { model, engine, lines, tokens } = event;
          return reporter.line(
            `Training ${model} on ${engine}: ${counted(lines.train, 'line')} with ${counted(tokens, 'completion token')}, ` +
              `${counted(lines.heldOut, 'held-out line')}.`,
          );
        }
        case 'measured':
          return reporter.line(`Held-out loss ${event.when} training: ${describeLoss(event.loss)}.`);
        case 'resumed':
          return progress.resume(event.history);
        case 'training':
          return progress.start(event.updates);
        case 'step': {
          const { metrics, updates } = event;
          progress.add(metrics, updates, { note: describeSftUpdate(metrics, updates) });
        }
      }
    },
    end: progress.end,
  };
}

/** An update's line in a log; undefined if it has none. */
function describeSftUpdate({ step, loss, heldOutLoss }: SftMetrics, updates: number): string | undefined {
  if (step % lineEveryUpdates !== 0 && step !== updates && heldOutLoss === undefined) return undefined;
  const held = heldOutLoss === undefined ? '' : `, held out ${heldOutLoss.toFixed(3)}`;
  return `Update ${step} of ${updates}: loss ${loss.toFixed(3)} nats per token${held}`;
}

/** Losses over the updates, as curves from 0 to the largest. */
function lossCurves(history: readonly SftMetrics[], width: number): string[] {
  const curve = (name: string, values: readonly number[]) => {
    const largest = Math.max(...values, Number.MIN_VALUE);
    const levels = values.map((value) => value / largest);
    return curveLines(name, [values[0]!.toFixed(3), values.at(-1)!.toFixed(3)], levels, width);
  };
  if (history.length === 0) return [];
  const losses = history.map(({ loss }) => loss);
  const held = history.flatMap(({ heldOutLoss }) => heldOutLoss ?? []);
  return [...curve('loss', losses), ...(held.length > 1 ? curve('loss, held out', held) : [])];
}

function describeLoss({ loss, tokens }: TokenLoss): string {
  return `${loss.toFixed(3)} nats per token (probability of a token ${percent(Math.exp(-loss))}), over ${counted(tokens, 'token')}`;
}
