/**
 * @file A watched run with its progress and verdict. The verdict is computed again only after a change.
 */
import { remembered } from '../follow.js';
import type { RunRecord } from '../read.js';
import { judge, type Verdict } from '../verdict.js';
import { type Progress, progressOf } from './progress.js';
import { type Watched, watchRun } from './state.js';

export interface Followed {
  readonly watched: Watched;
  readonly progress: Progress;
  /** Of a run of `train`. */
  readonly verdict: Verdict | undefined;
}

/** Looks at the run in `folder` at each call. */
export function followRunIn(folder: string): () => Followed {
  const look = watchRun(folder);
  const progress = progressOf();
  let record: RunRecord | undefined;
  // Called with the parts of the record that matter, which are the same objects until they change.
  const verdict = remembered((..._: readonly unknown[]) => record && judge(record));
  return () => {
    const watched = look();
    record = watched.run?.command === 'train' ? watched.run.record : undefined;
    return {
      watched,
      progress: progress(watched),
      verdict: verdict(record?.before, record?.after, record?.stage1, record?.steps),
    };
  };
}

/** `Stage 2: 12 of 47 updates`. */
export function headline({ watched, progress, verdict }: Followed): string {
  const { state, run, holder } = watched;
  if (state === 'finished') return verdict?.sentence ?? 'The run is finished';
  if (state === 'gone') return 'The folder of the run is gone';
  if (run === undefined) return holder === undefined ? 'There is no run here yet' : 'The run is starting';
  const current = progress.phases.find(({ state: at }) => at === 'now');
  const where = current === undefined ? 'Saving' : `${current.name}: ${current.text}`;
  return state === 'stopped' ? `Stopped in ${where.charAt(0).toLowerCase()}${where.slice(1)}` : where;
}
