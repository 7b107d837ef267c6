/**
 * @file What is watched: overlaid runs, a set of runs, or files of stage 1. An empty or missing folder can become a run or a set
 * while it is watched. The chart library is loaded only when a browser opens the page.
 */
import { statSync } from 'node:fs';
import { readVStarFile } from '../../stage1/v-star-file.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { type Followed, followRunIn, headline } from './followed.js';
import type { View } from './page.js';
import { type FollowedSet, followSetIn, setHeadline } from './set.js';
import type { Watched } from './state.js';
import { type FollowedFiles, fileHeadline, followVStarFiles } from './v-star.js';

/** The result of one look at the files. */
export interface Look {
  /** Of every run, set of runs or file. */
  readonly states: readonly LookedAt[];
  /** What the page shows of it. */
  readonly view: () => Promise<View>;
}

export interface LookedAt extends Pick<Watched, 'name' | 'path' | 'state'> {
  /** Describes the state. */
  readonly sentence: () => string;
}

/** @throws UserError when files and folders are mixed, or a file is not one of stage 1. */
export function lookAt(paths: readonly [string, ...string[]]): () => Look {
  const files = paths.filter(namesFile);
  if (files.length === 0) return followFolders(paths);
  const folder = paths.find((path) => !files.includes(path));
  if (folder !== undefined) {
    throw new UserError(
      {
        problem: `${files[0]} is a V* file and ${folder} a folder; one page shows files or folders.`,
        fix: 'Watch them in two pages.',
      },
      { exitCode: exitCodes.usage },
    );
  }
  for (const path of files) if (isThere(path)) readVStarFile(path);
  const look = followVStarFiles(paths);
  return () => lookAtFiles(look());
}

const isThere = (path: string) => statSync(path, { throwIfNoEntry: false }) !== undefined;

/** A V* file that is not there yet is known by its name. */
function namesFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? path.endsWith('.json');
}

function followFolders(folders: readonly [string, ...string[]]): () => Look {
  const each = folders.map((folder) => ({ run: followRunIn(folder), set: followSetIn(folder) }));
  let ofRuns: ((all: readonly [Followed, ...Followed[]]) => View) | undefined;
  return () => {
    const found = each.map(({ run, set }) => set() ?? run());
    const [first, ...others] = found;
    if (others.length === 0 && first !== undefined && 'members' in first) return lookAtSet(first);
    const all = found.flatMap((one) => ('members' in one ? one.members : [one]));
    const runs = inOrder(all as [Followed, ...Followed[]]);
    return {
      states: runs.map(stateOf),
      view: async () => {
        ofRuns ??= (await import('./runs-view.js')).runsView();
        return ofRuns(runs);
      },
    };
  };
}

function stateOf(followed: Followed): LookedAt {
  const { name, path, state } = followed.watched;
  return { name, path, state, sentence: () => headline(followed) };
}

function lookAtSet(set: FollowedSet): Look {
  const { name, path, state, members } = set;
  // A member that has not started is not announced.
  const begun = members.filter(({ watched }) => watched.state !== 'waiting').map(stateOf);
  return {
    states: [...begun, { name, path, state, sentence: () => setHeadline(set) }],
    view: async () => (await import('./set-view.js')).setView(set),
  };
}

function lookAtFiles(found: FollowedFiles): Look {
  return {
    states: found.files.map((file) => ({ ...file, sentence: () => fileHeadline(file) })),
    view: async () => (await import('./v-star-view.js')).vStarView(found),
  };
}

/** Puts runs that the charts show first: those that exist and have the command of the first of them. */
function inOrder(all: readonly [Followed, ...Followed[]]): readonly [Followed, ...Followed[]] {
  const command = all.find(({ watched }) => watched.run)?.watched.run?.command;
  const isShown = ({ watched: { run } }: Followed) => command !== undefined && run?.command === command;
  const [lead, ...rest] = [...all.filter(isShown), ...all.filter((each) => !isShown(each))];
  return [lead ?? all[0], ...rest];
}
