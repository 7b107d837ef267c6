/**
 * @file Watched V* files, as `estimate-vstar` writes them: the progress of each, and all samples together, since they may be the
 * shards of one stage 1 on several machines.
 */
import { statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { mergeVStarFiles, readVStarFile, type VStarFile } from '../../stage1/v-star-file.js';
import { UserError } from '../../util/errors.js';
import { counted } from '../../util/format.js';
import { followFile, remembered } from '../follow.js';
import { tolerating } from '../read.js';
import type { Watched } from './state.js';

/** The state of a file at one moment. */
export interface FollowedFile extends Pick<Watched, 'name' | 'path' | 'quietMs'> {
  /** A file without a planned number of problems never counts as finished. */
  readonly state: Extract<Watched['state'], 'waiting' | 'running' | 'finished' | 'gone'>;
  readonly file: VStarFile | undefined;
  /** Problems with all their samples. */
  readonly done: number;
  /** Problems that the file will have; undefined if unknown. */
  readonly total: number | undefined;
  /** Seconds that a problem takes; undefined while unknown. */
  readonly secondsEach: number | undefined;
}

export interface FollowedFiles {
  readonly files: readonly [FollowedFile, ...FollowedFile[]];
  /** The samples of all files; undefined while there are none. */
  readonly samples: VStarFile | undefined;
  readonly damage: readonly string[];
}

/** Reads the files at each call. */
export function followVStarFiles(paths: readonly [string, ...string[]]): () => FollowedFiles {
  let errors: string[] = [];
  const onDamage = (error: UserError) => errors.push(error.message);
  const [first, ...others] = paths.map((path) => followOne(path, onDamage));
  const merged = remembered((...files: readonly FollowedFile['file'][]) => merge(files));
  return () => {
    errors = [];
    const files = [first!(), ...others.map((look) => look())] as const;
    const { samples, problem } = merged(...files.map(({ file }) => file));
    return { files, samples, damage: problem === undefined ? errors : [...errors, problem] };
  };
}

function followOne(path: string, onDamage: (error: UserError) => void): () => FollowedFile {
  const read = tolerating<VStarFile | undefined>(followFile(path, readVStarFile), onDamage);
  let last: VStarFile | undefined;
  let firstSeen: { readonly done: number; readonly atMs: number } | undefined;
  return () => {
    const file = read();
    last = file ?? last;
    const changedMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    const done = last === undefined ? 0 : doneIn(last);
    const total = last?.shards?.problems;
    if (done < (firstSeen?.done ?? 0)) firstSeen = undefined;
    if (file !== undefined) firstSeen ??= { done, atMs: changedMs };
    const sampled = done - (firstSeen?.done ?? done);
    return {
      ...{ name: basename(resolve(path)), path, file: last, done, total },
      state: last === undefined ? 'waiting' : file === undefined ? 'gone' : done === total ? 'finished' : 'running',
      quietMs: Math.max(0, Date.now() - changedMs),
      secondsEach: sampled > 0 ? (changedMs - firstSeen!.atMs) / 1000 / sampled : undefined,
    };
  };
}

function doneIn({ entries, samples }: VStarFile): number {
  return [...entries.values()].filter(({ rewards }) => rewards.length === samples).length;
}

/** All samples; or those of the first file and the reason, if the others do not belong to it. */
function merge(files: readonly FollowedFile['file'][]): { samples: VStarFile | undefined; problem?: string } {
  const parts = files.flatMap((file, i) => (file === undefined ? [] : [{ path: `file ${i + 1}`, file }]));
  if (parts.length === 0) return { samples: undefined };
  try {
    return { samples: mergeVStarFiles(parts, { partial: true }) };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { samples: parts[0]!.file, problem: error.message };
  }
}

/** `12 of 48 problems`. */
export function fileHeadline({ state, done, total }: FollowedFile): string {
  if (state === 'waiting') return 'There is no file here yet';
  if (state === 'gone') return 'The file is gone';
  return total === undefined ? `${counted(done, 'problem')} so far` : `${done} of ${counted(total, 'problem')}`;
}
