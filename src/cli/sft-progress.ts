/** @file Shows the progress of a run of supervised training on the terminal: permanent lines, and a bar with curves of the loss. */
import type { TokenLoss } from '../policy/row-loss.js';
import type { SftEvent, SftMetrics } from '../run/sft/events.js';
import { counted, formatPercent } from '../util/format.js';
import type { Reporter } from '../util/reporter.js';
import { curveLines, updateProgress } from './update-progress.js';

/** Updates between lines in a log. Updates with a held-out loss always get a line. */
const lineEveryUpdates = 5;

export function sftProgress(reporter: Reporter): { onEvent(event: SftEvent): void; end(): void } {
  const progress = updateProgress<SftMetrics>(reporter, 'Training', curves);
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
          return reporter.line(`Held out, ${event.when} training: ${describeLoss(event.loss)}.`);
        case 'resumed':
          return progress.resume(event.history);
        case 'training':
          return progress.start(event.updates);
        case 'step': {
          const { metrics, updates } = event;
          progress.add(metrics, updates, { note: describeUpdate(metrics, updates) });
        }
      }
    },
    end: progress.end,
  };
}

/** An update's line in a log; undefined if it has none. */
function describeUpdate({ step, loss, heldOutLoss }: SftMetrics, updates: number): string | undefined {
  if (step % lineEveryUpdates !== 0 && step !== updates && heldOutLoss === undefined) return undefined;
  const held = heldOutLoss === undefined ? '' : `, held out ${heldOutLoss.toFixed(3)}`;
  return `Update ${step} of ${updates}: loss ${loss.toFixed(3)} nats per token${held}`;
}

/** Losses over the updates, as curves from 0 to the largest. */
function curves(history: readonly SftMetrics[], width: number): string[] {
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
  return `loss ${loss.toFixed(3)} nats per token (probability of a token ${formatPercent(Math.exp(-loss))}), over ${counted(tokens, 'token')}`;
}
