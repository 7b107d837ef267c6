/**
 * @file Stage 1: samples every distinct problem from the reference and keeps the rewards. Works through the problems in
 * groups of a fixed size and tells of each group, so that a run that was stopped goes on at a group's border and draws
 * what it would have drawn.
 */
import type { Problem } from '../data/problem.js';
import { type GradedRollout, type RolloutKit, rollOut } from '../rollout.js';
import { missingSamples, type VStarEntry, type VStarFile } from './v-star-file.js';

export interface EstimateOptions {
  readonly signal?: AbortSignal;
  /** Called after each group with all that is known by then; `done` of `total` problems have their samples. */
  readonly onGroup?: (file: VStarFile, done: number, total: number) => void;
}

/** Samples that one group asks for: enough to keep the slots full, few enough to lose little when stopped. */
const groupSamples = 256;

/**
 * `file` with the samples that it lacked for `problems`.
 *
 * @throws the signal's reason when it is aborted; what `onGroup` was told is then the state of things.
 */
export async function estimate<P>(
  kit: RolloutKit<P>,
  problems: readonly Problem<P>[],
  file: VStarFile,
  { signal, onGroup }: EstimateOptions = {},
): Promise<VStarFile> {
  const byId = new Map(problems.map((problem) => [problem.id, problem]));
  const groupSize = Math.max(1, Math.floor(groupSamples / file.samples));
  let known = file;
  for (let start = 0; start < problems.length; start += groupSize) {
    const ids = problems.slice(start, start + groupSize).map(({ id }) => id);
    const missing = missingSamples(known, ids);
    if (missing.length === 0) continue;
    const requests = missing.map(({ id, sample }) => ({ problem: byId.get(id)!, stage: 'stage1', sample }));
    const rollouts = await rollOut(kit, requests, signal);
    const entries = new Map(known.entries);
    for (const id of ids) {
      const added = rollouts.filter(({ problem }) => problem.id === id);
      entries.set(id, extended(entries.get(id), added));
    }
    known = { ...known, entries };
    onGroup?.(known, Math.min(start + groupSize, problems.length), problems.length);
  }
  return known;
}

function extended(entry: VStarEntry | undefined, added: readonly GradedRollout[]): VStarEntry {
  return {
    rewards: [...(entry?.rewards ?? []), ...added.map(({ score }) => score.reward)],
    exact: [...(entry?.exact ?? []), ...added.map(({ score }) => score.exact)],
    parsed: [...(entry?.parsed ?? []), ...added.map(({ score }) => score.parsed)],
    truncated: [...(entry?.truncated ?? []), ...added.map(({ finished }) => !finished)],
    lengths: [...(entry?.lengths ?? []), ...added.map(({ completionIds }) => completionIds.length)],
  };
}
