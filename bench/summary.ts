/**
 * @file Summarises the runs of all sides: medians with their spread, ratios between sides of the same round, and the check that
 * all sides did the same work. Pure.
 */
import { type JobResult, phaseNames } from './jobs.js';
import { median } from './measure.js';
import type { PartResult } from './parts.js';
import type { SideRun } from './side.js';

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export type Figures = Readonly<Record<string, Spread>>;

/** Measurements of each round, by side name. */
export type Runs<Result> = Readonly<Record<string, readonly SideRun<Result>[]>>;

function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** One side in one round; sides are compared by `seconds`. */
export type RoundFigures = { readonly seconds: number } & Readonly<Record<string, number>>;

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const total = (record: Readonly<Record<string, number>>) => sum(Object.values(record));
/** Sequences that `like` drew in the phases of `result`: an algorithm without stage 1 draws none there. */
const expectedTotal = (result: JobResult, like: JobResult) =>
  sum(Object.keys(result.sequences).map((phase) => like.sequences[phase] ?? 0));

/** Figures of one round of the whole job. `like` did all of it; a side that did less is extrapolated. */
export function jobFigures(run: SideRun<JobResult>, like: JobResult): RoundFigures {
  const { seconds, cpuSeconds, peakMegabytes, anonMegabytes, load, result } = run;
  const share = (phase: string) =>
    (like.sequences[phase] ?? 1) / (result.sequences[phase] ?? like.sequences[phase] ?? 1);
  const phases = Object.fromEntries(phaseNames.map((name) => [name, (result.phases[name] ?? 0) * share(name)]));
  const worked = sum(Object.keys(result.sequences).map((name) => result.phases[name]!));
  const extrapolated = total(result.sequences) < expectedTotal(result, like);
  const { firstTokenSeconds: firstToken } = result;
  return {
    seconds: extrapolated ? total(phases) : seconds,
    ...phases,
    msPerSequence: (1000 * worked) / total(result.sequences),
    cpuSeconds: extrapolated ? Number.NaN : cpuSeconds,
    peakMegabytes,
    anonMegabytes,
    machineLoad: load,
    greedyBefore: result.rewards.evalBeforeGreedy as number,
    sampledBefore: result.rewards.evalBeforeSampled as number,
    greedyAfter: result.rewards.evalAfterGreedy as number,
    sampledAfter: result.rewards.evalAfterSampled as number,
    ...(firstToken !== undefined && { firstToken }),
  };
}

export function partFigures(run: SideRun<PartResult>, tokens: number): RoundFigures {
  const { seconds, cpuSeconds, peakMegabytes, anonMegabytes, load, result } = run;
  const runSeconds = median(result.seconds);
  return {
    seconds: runSeconds,
    tokensPerSecond: tokens / runSeconds,
    load: result.loadSeconds,
    first: result.firstSeconds,
    processSeconds: seconds,
    cpuSeconds,
    peakMegabytes,
    anonMegabytes,
    machineLoad: load,
  };
}

/** Each figure's spread over the rounds. */
export function spreads(rounds: readonly Readonly<Record<string, number>>[]): Figures {
  const names = Object.keys(rounds[0] ?? {});
  return Object.fromEntries(names.map((name) => [name, spread(rounds.map((round) => round[name]!))]));
}

/** Ratio of a side's time to the first side's, by round. */
export function ratios(first: readonly number[], other: readonly number[]): Spread {
  return spread(other.map((value, round) => value / first[round]!));
}

/** Mean rewards of this many sequences or more are compared: two standard errors are then below `rewardTolerance`. */
const comparableSequences = 1000;
const rewardTolerance = 0.05;

/**
 * Faults in the runs of the whole job: different numbers of completions, or (if completions never end early) of tokens, or a
 * reward before training that reveals a different model.
 */
export function jobFaults(runs: Runs<JobResult>, newTokens: number, forced: boolean): string[] {
  const faults: string[] = [];
  const [like] = Object.values(runs)[0] as readonly SideRun<JobResult>[];
  const expected = (like as SideRun<JobResult>).result;
  for (const [side, rounds] of Object.entries(runs)) {
    for (const { result } of rounds) {
      for (const [phase, count] of Object.entries(result.sequences)) {
        const drawn = result.tokens[phase]!;
        if (forced && drawn !== count * newTokens) {
          faults.push(`${side}: ${drawn} tokens in ${phase} instead of ${count} x ${newTokens}`);
        }
        const whole = total(result.sequences) === expectedTotal(result, expected);
        if (whole && count !== expected.sequences[phase]) {
          faults.push(`${side}: ${count} completions in ${phase} instead of ${expected.sequences[phase]}`);
        }
        const difference = Math.abs(result.rewards[phase]! - expected.rewards[phase]!);
        if (
          phase !== 'evalAfter' &&
          phase !== 'stage2' &&
          count >= comparableSequences &&
          difference > rewardTolerance
        ) {
          faults.push(
            `${side}: mean reward ${result.rewards[phase]} in ${phase} instead of ${expected.rewards[phase]}`,
          );
        }
      }
    }
  }
  return faults;
}

/** Losses and scores in float32 may differ by rounding. */
const valueTolerance = 1e-3;

/** Faults in the runs of a part: values that differ from the first side's. */
export function partFaults(runs: Runs<PartResult>): string[] {
  const expected = Object.values(runs)[0]?.[0]?.result.values as readonly number[];
  return Object.entries(runs).flatMap(([side, rounds]) =>
    rounds.flatMap(({ result: { values } }) => {
      const same = values.every((value, i) => {
        const other = expected[Math.min(i, expected.length - 1)]!;
        return Math.abs(value - other) <= valueTolerance * Math.abs(other);
      });
      return same ? [] : [`${side}: ${values.join(', ')} instead of ${expected.join(', ')}`];
    }),
  );
}
