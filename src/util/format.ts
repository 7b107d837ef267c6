/**
 * @file Formats numbers for people: bytes in decimal units, durations, rates and p-values.
 */
import type { Interval } from './statistics.js';

/** `38.8 %` of the rate 0.388. */
export function formatPercent(rate: number): string {
  return `${(100 * rate).toFixed(1)} %`;
}

/** `39 %` of the rate 0.388. */
export function formatWholePercent(rate: number): string {
  return `${Math.round(100 * rate)} %`;
}

/** `29.4 % to 45.5 %`. */
export function formatInterval([low, high]: Interval): string {
  return `${formatPercent(low)} to ${formatPercent(high)}`;
}

/** `+49.9 points` of the difference 0.499 between two rates. */
export function formatPoints(difference: number): string {
  return `${signedPoints(difference)} points`;
}

function signedPoints(difference: number): string {
  const text = Math.abs(100 * difference).toFixed(1);
  return Number(text) === 0 ? text : `${difference > 0 ? '+' : '−'}${text}`;
}

/** `95 % interval +40.1 to +58.2 points`, of a difference between two rates. */
export function describePointsInterval(interval: Interval | null): string {
  if (interval === null) return describeInterval(interval);
  return `95 % interval ${signedPoints(interval[0])} to ${signedPoints(interval[1])} points`;
}

/** `95 % interval 29.4 % to 45.5 %`; null: no interval can be computed. */
export function describeInterval(interval: Interval | null): string {
  if (interval !== null) return `95 % interval ${formatInterval(interval)}`;
  return 'no 95 % interval: only one cluster, or all clusters have the same result';
}

/** `p = 0.0039`; for a Monte Carlo test, whose smallest p depends on the draws, `p <= 1e-5, 100,000 draws`. */
export function describePValue({ pValue, draws }: { readonly pValue: number; readonly draws?: number }): string {
  if (draws === undefined) return `p = ${formatPValue(pValue)}`;
  const count = `${draws.toLocaleString('en-US')} draws`;
  // The observed assignment counts among the draws, so the smallest p is 1 / (draws + 1).
  return pValue * (draws + 1) < 1.5 ? `p <= ${1 / draws}, ${count}` : `p = ${formatPValue(pValue)}, ${count}`;
}

/** `0.0039`, `2.3e-7`: two significant digits. */
function formatPValue(p: number): string {
  return p < 0.0001 ? p.toExponential(1) : p.toPrecision(2);
}

/** `274 MB`, `1.3 GB`: one decimal place below ten, otherwise whole numbers. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`;
}

/** `8 s`, `2 min 5 s`, `1 h 3 min`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** `1 problem`, `20 problems`. */
export function counted(n: number, noun: string): string {
  return `${n.toLocaleString('en-US')} ${noun}${n === 1 ? '' : 's'}`;
}
