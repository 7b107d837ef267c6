/** @file Compares the sides of a case, quantity by quantity, and prints the result as a table. */
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { vStar } from '../../src/stage1/vstar.js';
import type { Case } from './cases.js';
import type { Result, Tensors } from './ours.js';
import type { PublishedResult, TheirResult } from './python-sides.js';

export interface Line {
  readonly name: string;
  readonly quantity: string;
  /** Distances: of tinyzero and TRL from the published formulas in float64, and of tinyzero from TRL. */
  readonly ours: number;
  readonly trl: number | null;
  readonly between: number | null;
  readonly bound: number;
  readonly holds: boolean;
}

interface Sides {
  readonly ours: Result;
  /** Undefined where TRL has no trainer of this definition. */
  readonly trl: TheirResult | undefined;
  readonly published: PublishedResult;
}

/** tinyzero may be this many times as far from the exact result as TRL. */
const slack = 4;
/**
 * But what is as exact as this, relative to its size, is always good enough: a few roundings of float32. The loss of a policy gradient
 * is a mean of A·δ, whose δ is a small difference of two log-probs; weights move by little beside their own rounding.
 */
const floors = {
  ...{ vStar: 1e-12, advantages: 1e-12, loss: 1e-5, deltaLoss: 2e-4, norm: 1e-5, gradient: 1e-4, weights: 5e-4 },
  // SPO's values are float32, and follow from log-probs.
  tracked: 1e-4,
  // AdamW's first step is the sign of the gradient, which a rounding can turn where it is nearly 0. With TRL beside, its distance tells.
  firstStep: 2e-3,
} as const;

export function compare(given: Case, { ours, trl, published }: Sides): Line[] {
  const { name } = given;
  const lines: Line[] = [];
  const add = (quantity: string, floor: number, distance: (a: Result, b: Result) => number, theirs = true) => {
    const exact = distance(ours, published);
    const other = theirs && trl !== undefined ? distance(trl, published) : null;
    const bound = Math.max(floor, slack * (other ?? 0));
    const between = theirs && trl !== undefined ? distance(ours, trl) : null;
    lines.push({ name, quantity, ours: exact, trl: other, between, bound, holds: exact <= bound });
  };
  const isApo = given.algorithm === 'apo';
  if (isApo) {
    add('V*', floors.vStar, (a, b) => largest(a.vStar.map((value, i) => value - b.vStar[i]!)));
    const means = given.problems.map(({ rewards }, i) => vStar(rewards, 0) - published.vStarMean[i]!);
    add('V* for beta1 = 0', floors.vStar, () => largest(means), false);
    // The authors' program takes a negative beta1 for "no V*"; here it is refused.
    const isRefused = published.vStarNegative.every((value) => value === 0) && refusesNegative();
    add('V* for beta1 < 0: refused, theirs is 0', 0, () => (isRefused ? 0 : Number.POSITIVE_INFINITY), false);
    add('problems kept by the filter', 0, (a, b) => symmetricDifference(a.kept, b.kept));
  } else
    add(
      'advantages',
      given.algorithm === 'spo' ? floors.tracked : floors.advantages,
      (a, b) => largest(a.advantages.flat().map((value, i) => value - b.advantages.flat()[i]!)),
      false,
    );
  // A policy gradient's loss is a value without a meaning of its own: TRL's differs by the constant log-prob of the reference.
  const isRegression = isApo || given.algorithm === 'tbrm';
  const lossFloor = isRegression ? floors.loss : floors.deltaLoss;
  add('loss, first update', lossFloor, (a, b) => relative(a.losses.slice(0, 1), b.losses.slice(0, 1)), isApo);
  add('loss, all updates', lossFloor, (a, b) => relative(a.losses, b.losses), isApo);
  add('norm of the gradient, all updates', floors.norm, (a, b) => relative(a.norms, b.norms));
  add('gradient, worst tensor', floors.gradient, (a, b) => worstTensor(a.gradient, b.gradient));
  const start = startOf(given.model);
  for (const step of given.snapshots) {
    const quantity = `weights after ${step} ${step === 1 ? 'update' : 'updates'}, by the way moved`;
    const floor = step === 1 && trl === undefined ? floors.firstStep : floors.weights;
    add(quantity, floor, (a, b) => moved(a.weights.get(step)!, b.weights.get(step)!, start));
  }
  return lines;
}

function refusesNegative(): boolean {
  try {
    vStar([1, 0], -1);
    return false;
  } catch (error) {
    return error instanceof RangeError;
  }
}

const largest = (values: readonly number[]) => Math.max(0, ...values.map(Math.abs));
const norm = (values: ArrayLike<number>) => Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0));

/** |a - b| / |b| of two lists as vectors; |a - b| if b is 0, as the first loss of a policy gradient is. */
function relative(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  return norm(Array.from(a, (value, i) => value - b[i]!)) / (norm(b) || 1);
}

function symmetricDifference(a: readonly number[], b: readonly number[]): number {
  return [...a, ...b].filter((item) => !(a.includes(item) && b.includes(item))).length;
}

/** Tensors of either side; a tied output layer may be listed under one of its two names. */
function tensorsOfBoth(a: Tensors, b: Tensors): string[] {
  return [...a.keys()].filter((name) => b.has(name));
}

function worstTensor(a: Tensors, b: Tensors): number {
  const names = tensorsOfBoth(a, b);
  if (names.length < Math.min(a.size, b.size)) return Number.POSITIVE_INFINITY;
  return Math.max(...names.map((name) => relative(a.get(name)!, b.get(name)!)));
}

/** Difference of all weights, relative to how far training moved those of `b`. */
function moved(a: Tensors, b: Tensors, start: (name: string) => Float32Array): number {
  let squares = 0;
  let way = 0;
  const names = tensorsOfBoth(a, b);
  if (names.length < Math.min(a.size, b.size)) return Number.POSITIVE_INFINITY;
  for (const name of names) {
    const [ours, theirs, from] = [a.get(name)!, b.get(name)!, start(name)];
    for (let i = 0; i < theirs.length; i++) {
      squares += (ours[i]! - theirs[i]!) ** 2;
      way += (theirs[i]! - from[i]!) ** 2;
    }
  }
  // A first batch in which all rewards of a group are equal moves nothing.
  return Math.sqrt(squares / (way || 1));
}

function startOf(model: string): (name: string) => Float32Array {
  const { weights } = openPretrained(model);
  const read = new Map<string, Float32Array>();
  return (name) => {
    if (!read.has(name)) read.set(name, weights.read(name).slice());
    return read.get(name)!;
  };
}

/** For each algorithm the worst of its cases, as docs/parity.md has it. */
export function worstOf(lines: readonly Line[]): Line[] {
  const worst = new Map<string, Line>();
  const larger = (a: number | null, b: number | null) => (a === null || b === null ? null : Math.max(a, b));
  for (const line of lines) {
    const name = line.name.slice(line.name.indexOf(', ') + 2);
    const key = `${name}: ${line.quantity}`;
    const other = worst.get(key) ?? { ...line, name };
    worst.set(key, {
      ...other,
      ours: Math.max(line.ours, other.ours),
      trl: larger(line.trl, other.trl),
      between: larger(line.between, other.between),
      bound: Math.max(line.bound, other.bound),
      holds: line.holds && other.holds,
    });
  }
  return [...worst.values()];
}

/** The lines as a table. */
export function markdown(lines: readonly Line[]): string {
  const number = (value: number | null) => (value === null ? '' : value === 0 ? '0' : value.toExponential(1));
  return [
    '| case | quantity | tinyzero to float64 | TRL to float64 | tinyzero to TRL | bound | |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...lines.map(
      ({ name, quantity, ours, trl, between, bound, holds }) =>
        `| ${name.replaceAll('*', '\\*')} | ${quantity.replaceAll('*', '\\*')} | ${number(ours)} | ${number(trl)} | ${number(between)} | ${number(bound)} | ${holds ? 'holds' : '**outside**'} |`,
    ),
  ].join('\n');
}
