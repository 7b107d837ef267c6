/**
 * @file Watches overlaid runs, a set of runs, or files of stage 1: reads them regularly, renders the live page and serves it.
 * An empty or missing folder can become a run or a set while it is watched. Reading and rendering take a small share of one
 * processor at any size, and nothing is rendered, nor the chart library loaded, while no browser has the page open.
 */
import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { readVStarFile } from '../../stage1/v-star-file.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { type Followed, followRunIn, headline } from './followed.js';
import type { LivePage, View } from './page.js';
import { type PageServer, servePage } from './server.js';
import { type FollowedSet, followSetIn, setHeadline } from './set.js';
import type { Watched } from './state.js';
import { type FollowedFiles, fileHeadline, followVStarFiles } from './v-star.js';

export interface WatchOptions {
  /** Folders of runs, the first of which the page is about, one folder of a set, or V* files; they need not exist yet. */
  readonly paths: readonly [string, ...string[]];
  /** 0 for any free one. */
  readonly port: number;
  /** Called when a run or file starts, stops, finishes or is removed, with a sentence about it. */
  readonly onState?: (what: Pick<WatchedState, 'name' | 'path' | 'state'>, sentence: string) => void;
}

export interface Watching extends Pick<PageServer, 'url' | 'port'> {
  /** Brings the page up to date, tells the browsers why nothing more comes, and closes the server. */
  close(message: string): Promise<void>;
}

/** Least milliseconds between two readings of the files. */
const pollMs = 500;
/** Share of the time that reading many files may take. */
const pollShare = 0.1;
/** The part of a processor that drawing charts may take. */
const chartsShare = 0.08;
/** Milliseconds of drawing that may be saved up, so that the first charts appear immediately. */
const savedMs = 400;

/** @throws UserError when the port is in use, or the paths do not go together. */
export async function watchRuns({ paths, port, onState }: WatchOptions): Promise<Watching> {
  let page: LivePage | undefined;
  /** The chart library takes a while to load, so it is loaded when a browser opens the page. */
  const loaded = async () => {
    const { livePage } = await import('./page.js');
    page ??= livePage();
    return page;
  };
  const read = snapshots(paths);
  const states = new Map<string, WatchedState['state']>();
  let budgetMs = savedMs;
  let filledMs = performance.now();
  let over = '';

  const announce = (found: Snapshot) => {
    let isNew = false;
    for (const { name, path, state, sentence } of found.states) {
      if (states.get(path) === state) continue;
      states.set(path, state);
      isNew = true;
      onState?.({ name, path, state }, sentence());
    }
    return isNew;
  };
  /** Draws as much as time allows; `all`: everything. */
  const refresh = async (found: Snapshot, all: boolean) => {
    const [{ render }, view] = await Promise.all([loaded(), found.view()]);
    const now = performance.now();
    budgetMs = Math.min(savedMs, budgetMs + chartsShare * (now - filledMs));
    filledMs = now;
    render(
      view,
      () => all || budgetMs > 0,
      (spentMs) => {
        budgetMs -= spentMs;
      },
    );
  };

  const server = await servePage(
    {
      page: async () => {
        await refresh(read(), true);
        return (await loaded()).document(over);
      },
      since: (version) => page?.since(version),
    },
    port,
  );
  const stopped = new AbortController();
  const polling = (async () => {
    const pause = (ms: number) => sleep(ms, undefined, { signal: stopped.signal }).catch(() => {});
    await pause(0); // the caller gets the address first
    while (!stopped.signal.aborted) {
      const startMs = performance.now();
      let tookMs = 0;
      if (server.viewers > 0 || onState !== undefined) {
        const found = read();
        tookMs = performance.now() - startMs;
        const isNew = announce(found);
        if (server.viewers > 0) {
          await refresh(found, isNew);
          server.push();
        }
      }
      await pause(Math.max(pollMs, tookMs / pollShare));
    }
  })();
  return {
    url: server.url,
    port: server.port,
    close: async (message) => {
      stopped.abort();
      await polling;
      over = message;
      if (server.viewers > 0) {
        await refresh(read(), true);
        server.push();
      }
      await server.close(message);
    },
  };
}

/** The result of one reading of the files. */
interface Snapshot {
  /** Of every run, set of runs or file. */
  readonly states: readonly WatchedState[];
  /** What the page shows of it. */
  readonly view: () => Promise<View>;
}

interface WatchedState extends Pick<Watched, 'name' | 'path' | 'state'> {
  /** Describes the state. */
  readonly sentence: () => string;
}

/** @throws UserError when files and folders are mixed, or a file is not one of stage 1. */
function snapshots(paths: readonly [string, ...string[]]): () => Snapshot {
  const files = paths.filter(namesFile);
  if (files.length === 0) return followFolders(paths);
  const folder = paths.find((path) => !files.includes(path));
  if (folder !== undefined) {
    throw new UserError(
      {
        problem: `${files[0]} is a V* file and ${folder} is a folder; a page shows either files or folders.`,
        fix: 'Use a page for each.',
      },
      { exitCode: exitCodes.usage },
    );
  }
  for (const path of files) if (isThere(path)) readVStarFile(path);
  const read = followVStarFiles(paths);
  return () => fileSnapshot(read());
}

const isThere = (path: string) => statSync(path, { throwIfNoEntry: false }) !== undefined;

/** A V* file that is not there yet is known by its name. */
function namesFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? path.endsWith('.json');
}

function followFolders(folders: readonly [string, ...string[]]): () => Snapshot {
  const each = folders.map((folder) => ({ run: followRunIn(folder), set: followSetIn(folder) }));
  let ofRuns: ((all: readonly [Followed, ...Followed[]]) => View) | undefined;
  return () => {
    const found = each.map(({ run, set }) => set() ?? run());
    const [first, ...others] = found;
    if (others.length === 0 && first !== undefined && 'members' in first) return setSnapshot(first);
    const all = found.flatMap((one) => ('members' in one ? one.members : [one]));
    const runs = inOrder(all as [Followed, ...Followed[]]);
    return {
      states: runs.map(stateOf),
      view: async () => {
        ofRuns ??= (await import('./views.js')).runsView();
        return ofRuns(runs);
      },
    };
  };
}

function stateOf(followed: Followed): WatchedState {
  const { name, path, state } = followed.watched;
  return { name, path, state, sentence: () => headline(followed) };
}

function setSnapshot(set: FollowedSet): Snapshot {
  const { name, path, state, members } = set;
  // A member that has not started is not announced.
  const begun = members.filter(({ watched }) => watched.state !== 'waiting').map(stateOf);
  return {
    states: [...begun, { name, path, state, sentence: () => setHeadline(set) }],
    view: async () => (await import('./views.js')).setView(set),
  };
}

function fileSnapshot(found: FollowedFiles): Snapshot {
  return {
    states: found.files.map((file) => ({ ...file, sentence: () => fileHeadline(file) })),
    view: async () => (await import('./views.js')).vStarView(found),
  };
}

/** Puts runs that the charts show first: those that exist and have the command of the first of them. */
function inOrder(all: readonly [Followed, ...Followed[]]): readonly [Followed, ...Followed[]] {
  const command = all.find(({ watched }) => watched.run)?.watched.run?.command;
  const isShown = ({ watched: { run } }: Followed) => command !== undefined && run?.command === command;
  const [lead, ...rest] = [...all.filter(isShown), ...all.filter((each) => !isShown(each))];
  return [lead ?? all[0], ...rest];
}
