/**
 * @file Stage 1: samples every distinct problem from the reference and keeps the rewards. Works in groups of a fixed size and
 * passes each finished group to the caller, so an interrupted run resumes after the last group with the same samples.
 */
import type { Problem } from '../data/problem.js';
import { type GradedRollout, type RolloutKit, rollOut } from '../policy/rollout.js';
import { samplingEffort } from '../policy/sampling-effort.js';
import { type Reporter, silentReporter } from '../util/reporter.js';
import { missingSamples, type Samples, type VStarEntry } from './v-star-file.js';

export interface EstimateOptions<File = Samples> {
  readonly signal?: AbortSignal;
  /** Receives progress. */
  readonly reporter?: Reporter;
  /** Called after each group with all samples so far. */
  readonly onGroup?: (file: File) => void;
}

/** Samples per group: enough to keep the slots full, few enough to lose little when interrupted. */
export const groupSamples = 256;

/**
 * Draws the samples that `file` lacks for `problems`. Returns the completed file.
 *
 * @throws the signal's reason when it is aborted. The last file given to `onGroup` holds everything drawn until then.
 */
export async function estimate<P, File extends Samples>(
  kit: RolloutKit<P>,
  problems: readonly Problem<P>[],
  file: File,
  { signal, reporter = silentReporter, onGroup }: EstimateOptions<File> = {},
): Promise<File> {
  const byId = new Map(problems.map((problem) => [problem.id, problem]));
  const groupSize = Math.max(1, Math.floor(groupSamples / file.samples));
  const ids = problems.map(({ id }) => id);
  const groups = Array.from({ length: Math.ceil(ids.length / groupSize) }, (_, i) =>
    ids.slice(i * groupSize, (i + 1) * groupSize),
  );
  let known = file;
  const work = reporter.work('Stage 1', 'completions');
  const counts = groups.map((group) => missingSamples(file, group).length).filter((count) => count > 0);
  const effort = samplingEffort(work, counts, kit.maxNewTokens);
  try {
    for (const group of groups) {
      const missing = missingSamples(known, group);
      if (missing.length === 0) continue;
      const requests = missing.map(({ id, sample }) => ({ problem: byId.get(id)!, stage: 'stage1', sample }));
      const rollouts = await rollOut(kit, requests, { signal, ...effort.watch(true) });
      const entries = new Map(known.entries);
      for (const id of group) {
        const added = rollouts.filter(({ problem }) => problem.id === id);
        entries.set(id, extended(entries.get(id), added));
      }
      known = { ...known, entries };
      onGroup?.(known);
    }
  } finally {
    work.end();
  }
  return known;
}

function extended(entry: VStarEntry | undefined, added: readonly GradedRollout[]): VStarEntry {
  // If only rewards are known of the first samples, keep only rewards of the new ones.
  const isKnown = (list: readonly unknown[] | undefined) => list?.length === entry?.rewards.length;
  const all = {
    rewards: [...(entry?.rewards ?? []), ...added.map(({ score }) => score.reward)],
    exact: [...(entry?.exact ?? []), ...added.map(({ score }) => score.exact)],
    parsed: [...(entry?.parsed ?? []), ...added.map(({ score }) => score.parsed)],
    truncated: [...(entry?.truncated ?? []), ...added.map(({ finished }) => !finished)],
    lengths: [...(entry?.lengths ?? []), ...added.map(({ completionIds }) => completionIds.length)],
    texts: [...(entry?.texts ?? []), ...added.map(({ text }) => textNumber(text))],
  };
  return {
    ...all,
    parsed: isKnown(entry?.parsed) ? all.parsed : [],
    truncated: isKnown(entry?.truncated) ? all.truncated : [],
    lengths: isKnown(entry?.lengths) ? all.lengths : [],
    texts: isKnown(entry?.texts) ? all.texts : [],
  };
}

/**
 * FNV-1a over UTF-16 units, folded to 16 bits to keep files small: of the few completions of a problem, different ones hardly
 * ever have equal numbers.
 */
function textNumber(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 16) ^ (hash & 0xffff);
}
