/**
 * @file Shows the progress of a run on the terminal: permanent lines, and for stage 2 a bar with curves of reward and accuracy.
 * All numbers are also in the run's files.
 */
import type { TrainEvent } from '../run/events.js';
import type { StepMetrics } from '../stage2/step-metrics.js';
import { formatPercent as percent } from '../util/format.js';
import type { Reporter } from '../util/reporter.js';
import { describeAccuracy, describePreflight } from './run-summary.js';
import type { Paint } from './terminal/paint.js';
import { curveLines, updateProgress } from './update-progress.js';

/** Updates between lines in a log. Updates with a held-out accuracy always get a line. */
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
          return reporter.line(`Held out, ${when} training: ${describeAccuracy(summary)}.`);
        }
        case 'preflight':
          return describePreflight(event.preflight, paint).forEach(reporter.line);
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
