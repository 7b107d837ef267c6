/**
 * @file Shows the progress of a run on the terminal: permanent lines, and for stage 2 a bar with curves of reward and accuracy.
 * All numbers are also in the run's files.
 */
import type { TrainEvent } from '../run/events.js';
import type { StepMetrics } from '../stage2/step-metrics.js';
import { counted, formatSeconds, formatPercent as percent } from '../util/format.js';
import type { Reporter, Work } from '../util/reporter.js';
import { describeAccuracy, describePreflight } from './run-summary.js';
import type { Paint } from './terminal/paint.js';
import { sparkline } from './terminal/sparkline.js';

/** Updates between lines in a log. Updates with a held-out accuracy always get a line. */
const lineEveryUpdates = 5;

export interface TrainProgress {
  onEvent(event: TrainEvent): void;
  /** Removes the bar from the screen; called when the run ends or fails. */
  end(): void;
}

export function trainProgress(reporter: Reporter, paint: Paint): TrainProgress {
  const history: StepMetrics[] = [];
  let heldOutBefore: number | undefined;
  /** Duration of the evaluation before training, which predicts that of the one after. */
  let evaluationSeconds: number | undefined;
  let work: Work | undefined;
  let beganMs = 0;
  let firstUpdate = 1;

  const endStage2 = (updates: number) => {
    work?.end();
    work = undefined;
    const seconds = (performance.now() - beganMs) / 1000;
    const made = firstUpdate === 1 ? counted(updates, 'update') : `updates ${firstUpdate} to ${updates}`;
    reporter.line(`Stage 2: ${made} in ${formatSeconds(seconds)}.`);
    for (const line of curves(history, heldOutBefore, closingWidth)) reporter.line(line);
  };

  return {
    onEvent(event) {
      switch (event.kind) {
        case 'opened':
          return reporter.line(describeJob(event));
        case 'evaluated': {
          const { when, summary, seconds } = event;
          if (when === 'before') heldOutBefore = summary.greedy.exact.rate;
          if (when === 'before') evaluationSeconds = seconds;
          return reporter.line(`Held out, ${when} training: ${describeAccuracy(summary)}.`);
        }
        case 'preflight':
          return describePreflight(event.preflight, paint).forEach(reporter.line);
        case 'resumed':
          history.push(...event.history);
          firstUpdate = event.step + 1;
          return reporter.line(`Resuming after update ${event.step}.`);
        case 'stage2':
          beganMs = performance.now();
          work = reporter.work('Stage 2', 'updates');
          return work.update({ done: history.length, total: event.updates });
        case 'step': {
          const { metrics, updates } = event;
          history.push(metrics);
          const note = describeUpdate(metrics, updates);
          work?.update({
            done: metrics.step,
            total: updates,
            ...(evaluationSeconds !== undefined && { after: evaluationSeconds }),
            ...(note !== undefined && { note }),
            details: (width) => curves(history, heldOutBefore, width),
          });
          if (metrics.step === updates) endStage2(updates);
        }
      }
    },
    end: () => work?.end(),
  };
}

function describeJob({ model, engine, problems }: Extract<TrainEvent, { kind: 'opened' }>): string {
  const { train, rows, test } = problems;
  return (
    `Training ${model} on ${engine}: ${rows.length} rows of ${train.length} distinct problems, ` +
    `${test.length} held-out problems.`
  );
}

/** The line of an update in a log; undefined if it gets none. */
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

/** Width of the curves printed at the end of stage 2. */
const closingWidth = 79;

/** Reward and accuracy over the updates: first and latest value, and a curve from 0 to 1. All curves share a time axis. */
function curves(history: readonly StepMetrics[], heldOutBefore: number | undefined, width: number): string[] {
  const curve = (name: string, first: number, values: readonly number[], show: (value: number) => string) => {
    const start = `  ${name.padEnd(17)} ${show(first).padStart(7)} -> ${show(values.at(-1)!).padStart(7)}  `;
    return start + sparkline(values, width - start.length);
  };
  if (history.length === 0) return [];
  const rewards = history.map(({ reward }) => reward);
  const rates = history.map(({ exactRate }) => exactRate);
  const lines = [
    curve('reward', rewards[0]!, rewards, (value) => value.toFixed(3)),
    curve('training, sampled', rates[0]!, rates, percent),
  ];
  if (heldOutBefore !== undefined && history.some(({ heldOutGreedy }) => heldOutGreedy !== undefined)) {
    // Between two measurements, the earlier one is drawn.
    let held = heldOutBefore;
    const values = history.map(({ heldOutGreedy }) => {
      held = heldOutGreedy ?? held;
      return held;
    });
    lines.push(curve('held out, greedy', heldOutBefore, values, percent));
  }
  return lines;
}
