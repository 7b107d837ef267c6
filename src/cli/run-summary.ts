/**
 * @file A run in words: its plan, the verdict between the stages, evaluations and what they show. Only tells; everything that is
 * told is in the run's files.
 */

import { type Comparison, significance } from '../policy/eval-compare.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import type { DryRun } from '../run/dry-run.js';
import type { TrainResult } from '../run/events.js';
import type { Parts } from '../run/memory-plan.js';
import type { Preflight } from '../stage1/preflight.js';
import {
  counted,
  describeInterval,
  describePValue,
  formatBytes,
  formatSeconds,
  formatPercent as percent,
  formatInterval as range,
} from '../util/format.js';
import { type Paint, plain } from './terminal/paint.js';

export function describeAccuracy({ greedy, sampled }: EvalSummary): string {
  const { correct, total } = greedy.exact;
  const first = `greedy ${correct} of ${total} exact (${percent(greedy.exact.rate)})`;
  return sampled === undefined ? first : `${first}, sampled ${percent(sampled.exact.rate)}`;
}

/** The verdict between the stages, for people. */
export function describePreflight(preflight: Preflight, paint: Paint = plain): string[] {
  const { verdict, problems, samplesPerProblem, passAt1, passAtN, histogram, trainable } = preflight;
  const { allWrong, mixed, allRight, truncatedRate, parseFailRate, meanAbsAdvantage, advice } = preflight;
  const word = { go: paint.good('go'), warn: paint.warn('go, with a warning'), stop: paint.bad('stop') }[verdict];
  return [
    `Will training learn anything here? Verdict: ${word}.`,
    `  ${problems} problems, ${samplesPerProblem} samples each: pass@1 ${percent(passAt1)}, pass@${samplesPerProblem} ${percent(passAtN)}`,
    `  all wrong ${percent(allWrong)}, mixed ${percent(mixed)}, all right ${percent(allRight)}; problems by right samples, from 0: ${histogram.join(' ')}`,
    `  cut off ${percent(truncatedRate)}, no readable answer ${percent(parseFailRate)}; mean |advantage| ${meanAbsAdvantage.toFixed(3)}; ${trainable} problems to train on`,
    ...advice.map((sentence) => `  ${sentence}`),
  ];
}

/** What a run would do and need. */
export function describeDryRun(plan: DryRun): string[] {
  const { model, parameters, task, problems, rollouts, updates, maxNewTokens, memory, disk, device, available } = plan;
  const count = (value: number) => value.toLocaleString('en');
  const parts = (bytes: Parts) =>
    Object.entries(bytes).map(([what, size]) => `    ${formatBytes(size).padStart(7)}  ${what}`);
  const limit = available.memory === undefined ? "the GPU's is not known" : `${formatBytes(available.memory)} there`;
  const where = { cpu: 'this machine', gpu: 'the GPU', wasm: 'the wasm engine' }[device];
  return [
    `${model}: ${count(parameters)} parameters; task "${task}".`,
    `  ${counted(problems.rows, 'row')} of ${counted(problems.train, 'distinct problem')}, ${counted(problems.test, 'held-out problem')}`,
    `  rollouts, of at most ${count(maxNewTokens)} tokens: ${count(rollouts.evaluation)} in each of two evaluations, ` +
      `${count(rollouts.stage1)} in stage 1, at most ${count(rollouts.stage2)} in stage 2 (${count(updates)} updates)`,
    ...memory.flatMap(({ stage, bytes, parts: needed }) => [
      `Memory of ${where} while ${stage}: about ${formatBytes(bytes)} (${limit})`,
      ...parts(needed),
    ]),
    `Disk: ${formatBytes(disk.bytes)} (${formatBytes(available.disk)} free)`,
    ...parts(disk.parts),
  ];
}

/** The closing words of a run. */
export function summarize(
  { folder, updates, overlap, before, after, compare, report }: TrainResult & { readonly report: string },
  seconds: number,
  paint: Paint = plain,
): string[] {
  const rows: [string, string, string][] = [['', 'before', 'after']];
  const row = (name: string, value: (summary: EvalSummary) => string) => rows.push([name, value(before), value(after)]);
  row('greedy, exact', ({ greedy: { exact } }) => `${exact.correct} of ${exact.total} (${percent(exact.rate)})`);
  row('  95 % interval (Wilson)', ({ greedy }) => range(greedy.exact.ci95));
  if (before.sampled !== undefined && after.sampled !== undefined) {
    row('sampled, exact', ({ sampled }) => percent(sampled!.exact.rate));
    row('  95 % interval (bootstrap)', ({ sampled: { exact } = after.sampled! }) =>
      exact.ci95 === null ? 'none' : range(exact.ci95),
    );
    row('mean reward', ({ sampled }) => sampled!.meanReward.toFixed(3));
    row('readable answer', ({ sampled }) => percent(sampled!.formatRate));
    row('cut off', ({ sampled }) => percent(sampled!.truncatedRate));
    row('tokens, mean', ({ sampled }) => sampled!.meanTokens.toFixed(1));
  }
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((cells) => cells[column]!.length)));
  const table = rows.map((cells) => `  ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join('  ')}`.trimEnd());
  // `--overlap seed` tests on what may have been trained on: that proves memory, not learning.
  const tested =
    overlap === 'none'
      ? `${counted(before.problems, 'held-out problem')}, never trained on`
      : `${counted(before.problems, 'test problem')}, which may have been trained on`;
  return [
    `${tested} (${counted(before.clusters, 'cluster')}); ${counted(updates, 'update')}:`,
    ...table,
    ...describeComparison(compare, paint),
    ...(before.constantAnswer === null
      ? []
      : [
          `The best constant answer, ${before.constantAnswer.answer}, would earn a mean reward of ${before.constantAnswer.meanReward.toFixed(3)}.`,
        ]),
    `Everything is in ${folder} after ${formatSeconds(seconds)}; the trained model is in ${folder}/final.`,
    `The report is in ${report}; \`tinyzero report ${folder} --open\` shows it.`,
  ];
}

/** Tests of a difference between two evaluations. */
export function describeComparison({ greedy, sampled }: Comparison, paint: Paint = plain): string[] {
  const lines: string[] = [];
  if (sampled !== undefined) {
    lines.push(
      `Sampled: ${paintGain(sampled, paint)} (${describeInterval(sampled.ci95)}), ` +
        `sign-flip test over ${counted(sampled.clusters, 'cluster')} ${describePValue(sampled)}.`,
    );
  }
  lines.push(
    `Greedy: ${greedy.gained} problems gained, ${greedy.lost} lost, McNemar's exact test ${describePValue(greedy)}.`,
  );
  return lines;
}

/** Coloured only where it is more than luck. */
function paintGain({ difference, pValue }: NonNullable<Comparison['sampled']>, paint: Paint): string {
  const text = `${difference >= 0 ? '+' : ''}${percent(difference)}`;
  if (pValue >= significance) return text;
  return difference > 0 ? paint.good(text) : paint.bad(text);
}

/** One evaluation, for people. */
export function describeEvaluation(evaluation: EvalSummary, paint: Paint = plain): string[] {
  const { model, problems, clusters, greedy, sampled, perProblem, constantAnswer } = evaluation;
  const { correct, total, rate, ci95 } = greedy.exact;
  const lines = [
    `${model} on ${counted(problems, 'problem')} (${counted(clusters, 'cluster')}):`,
    `  greedy   exact ${correct} of ${total} (${percent(rate)}, ${describeInterval(ci95)}), mean reward ${greedy.meanReward.toFixed(3)}`,
    `           readable answer ${percent(greedy.formatRate)}, cut off ${percent(greedy.truncatedRate)}, ${greedy.meanTokens.toFixed(1)} tokens`,
  ];
  if (sampled !== undefined) {
    const { samplesPerProblem: k, temperature, exact, passAt } = sampled;
    const shown = [1, 2, 4, 8, 16, 32, 64].filter((tries) => tries <= k);
    lines.push(
      `  sampled  exact ${percent(exact.rate)} (${describeInterval(exact.ci95)}) of ${k} samples each at temperature ${temperature}, mean reward ${sampled.meanReward.toFixed(3)}`,
      `           readable answer ${percent(sampled.formatRate)}, cut off ${percent(sampled.truncatedRate)}, ${sampled.meanTokens.toFixed(1)} tokens`,
      `           ${shown.map((tries) => `pass@${tries} ${percent(passAt[tries]!)}`).join(', ')}`,
    );
  }
  if (constantAnswer !== null) {
    lines.push(
      `  The best constant answer, ${constantAnswer.answer}, earns a mean reward of ${constantAnswer.meanReward.toFixed(3)}.`,
    );
  }
  for (const { id, greedy: result, sampled: rates } of perProblem) {
    const rate = rates === undefined ? '' : ` ${percent(rates.exactRate).padStart(8)}`;
    lines.push(
      `  ${result.exact ? paint.good('right') : paint.bad('wrong')}${rate}  ${JSON.stringify(id)} ${JSON.stringify(result.completion)}`,
    );
  }
  return lines;
}
