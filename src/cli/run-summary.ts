/**
 * @file Describes a run on the terminal: its needs, its plan, the verdict between the stages, evaluations and their
 * comparison. All numbers are also in the run's files.
 */
import { join } from 'node:path';
import { type Comparison, significance } from '../policy/eval-compare.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import { shellWord } from '../report/command.js';
import type { Verdict } from '../report/verdict.js';
import type { Parts } from '../run/disk.js';
import type { DryRun } from '../run/dry-run.js';
import type { TrainResult } from '../run/events.js';
import type { Needs } from '../run/needs.js';
import type { RunTime } from '../run/time/probe.js';
import type { Preflight } from '../stage1/preflight.js';
import type { Probe } from '../stage1/probe-file.js';
import { UserError } from '../util/errors.js';
import {
  counted,
  describeInterval,
  describePointsInterval,
  describePValue,
  formatBytes,
  formatPoints,
  formatSeconds,
  formatPercent as percent,
  formatInterval as range,
} from '../util/format.js';
import { programName } from './program-name.js';
import { type Paint, plain } from './terminal/paint.js';
import { sparkline, tableLines } from './terminal/table.js';

export function describeAccuracy({ greedy, sampled }: EvalSummary): string {
  const { correct, total } = greedy.exact;
  const first = `greedy ${correct} of ${total} exact (${percent(greedy.exact.rate)})`;
  return sampled === undefined ? first : `${first}, sampled ${percent(sampled.exact.rate)}`;
}

/** The verdict between the stages, for people. */
export function describePreflight(preflight: Preflight, paint: Paint = plain): string[] {
  const { verdict, problems, samplesPerProblem, passAt1, passAtN, histogram, trainable } = preflight;
  const { allWrong, mixed, allRight, truncatedRate, parseFailRate, meanAbsAdvantage } = preflight;
  const { solved, varied, signalShare, plan, probe, notes, advice } = preflight;
  const word = { go: paint.good('go'), warn: paint.warn('go, with a warning'), stop: paint.bad('stop') }[verdict];
  return [
    `Will training learn anything here? Verdict: ${word}.`,
    `  ${problems} problems, ${samplesPerProblem} samples each: pass@1 ${percent(passAt1)}, pass@${samplesPerProblem} ${percent(passAtN)}`,
    `  all wrong ${percent(allWrong)}, mixed ${percent(mixed)}, all correct ${percent(allRight)}`,
    `  problems with 0 to ${samplesPerProblem} correct samples: ${bars(histogram)} (${histogram.join(' ')})`,
    `  cut off ${rate(truncatedRate)}, no readable answer ${rate(parseFailRate)}; mean |advantage| ${meanAbsAdvantage.toFixed(3)}`,
    `  ${trainable} problems to train on; ${varied} have varied rewards, ${solved} have an exact sample`,
    ...(plan === undefined
      ? []
      : [
          `  ${counted(plan.updates, 'update')} of ${counted(plan.batchSize, 'rollout')} planned; about ${Math.round(signalShare * plan.batchSize)} rollouts of the first update carry a signal${plan.warmup > 1 ? `; the learning rate rises during the first ${plan.warmup}` : ''}`,
        ]),
    ...(probe === undefined ? [] : describeProbe(probe)),
    ...notes.map((sentence) => `  ${sentence}`),
    ...advice.map((sentence) => `  ${sentence}`),
  ];
}

const rate = (value: number | null) => (value === null ? 'unknown' : percent(value));

/** The reference's answers to a few training problems. */
function describeProbe(probe: Probe): string[] {
  const { problems, samplesPerProblem, greedyExact, sampledExact, lastNumberRight, examples } = probe;
  const last = lastNumberRight === null ? '' : `; the last number is right in ${percent(lastNumberRight)}`;
  return [
    `  a probe of ${counted(problems, 'problem')}, ${counted(samplesPerProblem, 'sample')} each: ${percent(sampledExact)} exact, greedy ${percent(greedyExact)}${last}. For example:`,
    ...examples.map(({ completion, exact, truncated }) => {
      const end = truncated ? 'cut off' : exact ? 'right' : 'wrong';
      return `    ${end.padEnd(7)} ${JSON.stringify(completion)}`;
    }),
  ];
}

/** `▁▃█`: counts as a row of bars, the largest as high as a character. */
function bars(counts: readonly number[]): string {
  const most = Math.max(1, ...counts);
  return sparkline(
    counts.map((count) => count / most),
    counts.length,
  );
}

/** What a run would do and what it needs. */
export function describeDryRun(plan: DryRun): string[] {
  const { model, parameters, task, problems, rollouts, updates, maxNewTokens, elsewhere, time } = plan;
  const { tinkerUrl, samplerUrl, workers = [] } = elsewhere;
  const count = (value: number) => value.toLocaleString('en');
  return [
    `${model}: ${count(parameters)} parameters; task "${task}".`,
    `  ${counted(problems.rows, 'row')} of ${counted(problems.train, 'distinct problem')}, ${counted(problems.test, 'held-out problem')}`,
    `  rollouts, of at most ${count(maxNewTokens)} tokens: ${count(rollouts.evaluation)} in each of two evaluations, ` +
      `${count(rollouts.stage1)} in stage 1, at most ${count(rollouts.stage2)} in stage 2 (${count(updates)} updates)`,
    ...(tinkerUrl === undefined
      ? []
      : [`Samples and trains on the Tinker server ${tinkerUrl}; its memory is unknown.`]),
    ...(samplerUrl === undefined
      ? []
      : [`Samples on the server ${samplerUrl}, whose memory is unknown, and trains on this machine.`]),
    ...(workers.length === 0
      ? []
      : [`Computes here and in ${counted(workers.length, 'worker')}: ${workers.join(', ')}.`]),
    ...describeNeeds(plan),
    ...(time === undefined ? [] : describeTime(time, maxNewTokens)),
  ];
}

/** The time that a run takes, by part, and what was measured. */
function describeTime({ parts, seconds, secondsAtMost, probe }: RunTime, maxNewTokens: number): string[] {
  const lengths =
    probe.completions === 0
      ? `every completion is taken to have ${counted(maxNewTokens, 'token')}, since the weights are not here`
      : `${counted(probe.completions, 'completion')} sampled, of which ${probe.ended} ended: about ${counted(Math.round(probe.meanTokens), 'token')} each`;
  return [
    `Time on this machine: about ${formatSeconds(seconds)}${probe.completions === 0 ? '' : `, ${formatSeconds(secondsAtMost)} if every completion is as long as allowed`}`,
    ...Object.entries(parts)
      .filter(([, part]) => part > 0)
      .map(([what, part]) => `    ${formatSeconds(part).padStart(12)}  ${what}`),
    `  from a probe of ${probe.seconds.toFixed(1)} s: ${counted(probe.layers, 'layer')} timed; ${lengths}`,
  ];
}

/** What a run shows, for people: the verdict, the two evaluations, where everything is, and what to do next. */
export function summarize(
  result: FinishedRun,
  { seconds, paint = plain, width = wideTable }: { seconds: number; paint?: Paint; width?: number },
): string[] {
  const { folder, updates, before, compare, verdict, model } = result;
  const { good, bad, warn, strong } = paint;
  const tones: Partial<Record<Verdict['kind'], typeof good>> = {
    learned: good,
    small: good,
    worse: bad,
    memory: warn,
    leak: bad,
  };
  const headline = tones[verdict.kind] ?? strong;
  const word = shellWord(folder);
  return [
    headline(verdict.sentence),
    ...(['memory', 'placebo', 'leak'].includes(verdict.kind) ? verdict.notes.slice(0, 1) : []),
    '',
    ...evaluationTable(result, width),
    ...describeComparison(compare, paint),
    ...(before.constantAnswer === null
      ? []
      : [
          `The best constant answer, ${before.constantAnswer.answer}, would earn a mean reward of ${before.constantAnswer.meanReward.toFixed(3)}.`,
        ]),
    ...describeEnding(result),
    `${counted(updates, 'update')}, ${formatSeconds(seconds)}. The report is ${join(folder, 'report.html')}, the trained model ${join(folder, 'final')}.`,
    '',
    paint.strong('Next:'),
    ...[`report ${word} --open`, `play --model ${word} --compare ${shellWord(model)}`, 'runs'].map(
      (command) => `  ${programName()} ${command}`,
    ),
  ];
}

function describeEnding({ updates, stopped, best }: TrainResult): string[] {
  return [
    ...(stopped === undefined ? [] : [`Training ended after update ${updates}: the reward no longer rose.`]),
    ...(best === undefined
      ? []
      : [
          `The model is that of update ${best.step}, which answered ${percent(best.accuracy)} of the validation problems correctly.`,
        ]),
  ];
}

/** A run that `train` finished. */
export interface FinishedRun extends TrainResult {
  /** What it began with. */
  readonly model: string;
  readonly verdict: Verdict;
}

/** Width in characters from which both evaluations are shown side by side. */
const wideTable = 70;

function evaluationTable({ before, after }: TrainResult, width: number): string[] {
  const rows: [string, string, string][] = [];
  const row = (name: string, value: (summary: EvalSummary) => string) => rows.push([name, value(before), value(after)]);
  row('greedy, exact', ({ greedy: { exact } }) => `${exact.correct} of ${exact.total} (${percent(exact.rate)})`);
  row('  95 % interval (Wilson)', ({ greedy }) => range(greedy.exact.ci95));
  if (before.sampled !== undefined && after.sampled !== undefined) {
    row('sampled, exact', ({ sampled }) => percent(sampled!.exact.rate));
    row('  95 % interval (bootstrap)', ({ sampled }) =>
      sampled!.exact.ci95 === null ? 'none' : range(sampled!.exact.ci95),
    );
    row('mean reward', ({ sampled }) => sampled!.meanReward.toFixed(3));
    row('readable answer', ({ sampled }) => percent(sampled!.formatRate));
    row('cut off', ({ sampled }) => percent(sampled!.truncatedRate));
    row('tokens, mean', ({ sampled }) => sampled!.meanTokens.toFixed(1));
  }
  if (width >= wideTable) return tableLines([['', 'before', 'after'], ...rows]).map((line) => `  ${line}`);
  return rows.flatMap(([name, first, second]) => [`  ${name}`, `    before  ${first}`, `    after   ${second}`]);
}

/** Tests of a difference between two evaluations. */
export function describeComparison({ greedy, sampled }: Comparison, paint: Paint = plain): string[] {
  const lines: string[] = [];
  if (sampled !== undefined) {
    lines.push(
      `Sampled: ${paintGain(sampled, paint)} (${describePointsInterval(sampled.ci95)}), ` +
        `sign-flip test over ${counted(sampled.clusters, 'cluster')} ${describePValue(sampled)}.`,
    );
  }
  lines.push(
    `Greedy: ${counted(greedy.gained, 'problem')} gained, ${greedy.lost} lost, McNemar's exact test ${describePValue(greedy)}.`,
  );
  return lines;
}

/** Coloured only if the difference is significant. */
function paintGain({ difference, pValue }: NonNullable<Comparison['sampled']>, paint: Paint): string {
  const text = formatPoints(difference);
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
  lines.push(`  greedy${sampled === undefined ? '' : '  sampled'}  question and greedy answer`);
  for (const { id, greedy: result, sampled: rates } of perProblem) {
    const rate = rates === undefined ? '' : ` ${percent(rates.exactRate).padStart(8)}`;
    lines.push(
      `  ${result.exact ? paint.good('right') : paint.bad('wrong')} ${rate}  ${JSON.stringify(id)} ${JSON.stringify(result.completion)}`,
    );
  }
  return lines;
}

export function describeNeeds({ memory, disk, device, processes = 1, available }: Needs): string[] {
  const parts = (bytes: Parts) =>
    Object.entries(bytes).map(([what, size]) => `    ${formatBytes(size).padStart(7)}  ${what}`);
  const limit =
    available.memory === undefined ? "the GPU's size is unknown" : `${formatBytes(available.memory)} available`;
  const alone = { cpu: 'this machine', gpu: 'the GPU', wasm: 'the wasm engine' }[device];
  const where = processes === 1 ? alone : `each of ${processes} processes`;
  return [
    ...memory.flatMap(({ stage, bytes, parts: needed }) => [
      `Memory of ${where} while ${stage}: about ${formatBytes(bytes)} (${limit})`,
      ...parts(needed),
    ]),
    `Disk: ${formatBytes(disk.bytes)} (${formatBytes(available.disk)} free)`,
    ...parts(disk.parts),
  ];
}

/** @param fix what to change. @throws UserError when a run cannot fit. */
export function requireFit({ shortfalls }: Needs, fix: string): void {
  if (shortfalls.length === 0) return;
  const needs = shortfalls.map(
    ({ what, needed, available }) => `${what}: ${formatBytes(needed)} needed, ${formatBytes(available)} available`,
  );
  throw new UserError({ problem: `This run does not fit on this machine. ${needs.join('; ')}.`, fix });
}
