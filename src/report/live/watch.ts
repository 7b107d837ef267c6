/**
 * @file Watches runs: reads their folders now and then, renders the live page and serves it. Rendering takes a small share of
 * one processor, whatever the size of the run, and nothing is rendered while nobody looks.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Followed, followRunIn, headline } from './followed.js';
import type { LivePage } from './page.js';
import { type PageServer, servePage } from './server.js';
import type { Watched } from './state.js';

export interface WatchOptions {
  /** Folders of runs, the first of which the page is about; they need not exist yet. */
  readonly folders: readonly [string, ...string[]];
  /** 0 for any free one. */
  readonly port: number;
  /** Called when a run starts, stops, is finished or is removed, with a sentence about it. */
  readonly onState?: (watched: Watched, sentence: string) => void;
}

export interface Watching extends Pick<PageServer, 'url' | 'port'> {
  /** Brings the page up to date, tells the browsers why nothing more comes, and closes the server. */
  close(message: string): Promise<void>;
}

/** Milliseconds between two looks at the files. */
const lookMs = 500;
/** The part of a processor that drawing charts may take. */
const chartsShare = 0.08;
/** Milliseconds of drawing that may be saved up, so that the first charts come at once. */
const savedMs = 400;

/** @throws UserError when the port is in use. */
export async function watchRuns({ folders, port, onState }: WatchOptions): Promise<Watching> {
  let page: LivePage | undefined;
  /** The chart library takes a while to load, so it is loaded when somebody looks. */
  const loaded = async () => {
    const { livePage } = await import('./page.js');
    page ??= livePage();
    return page;
  };
  const [first, ...others] = folders.map(followRunIn);
  const states = new Map<string, Watched['state']>();
  let budgetMs = savedMs;
  let filledMs = performance.now();
  let over = '';

  /** Those that the charts show first: runs that there are, of the command of the first of them. */
  const followed = (): readonly [Followed, ...Followed[]] => {
    const all = [first!(), ...others.map((look) => look())] as const;
    const command = all.find(({ watched }) => watched.run)?.watched.run?.command;
    const isShown = ({ watched: { run } }: Followed) => command !== undefined && run?.command === command;
    const [lead, ...rest] = [...all.filter(isShown), ...all.filter((each) => !isShown(each))];
    return [lead ?? all[0], ...rest];
  };
  const announce = (all: readonly Followed[]) => {
    let isNew = false;
    for (const each of all) {
      const { path, state } = each.watched;
      if (states.get(path) === state) continue;
      states.set(path, state);
      isNew = true;
      onState?.(each.watched, headline(each));
    }
    return isNew;
  };
  /** Draws what there is time for; `all`: everything. */
  const refresh = async (runs: readonly [Followed, ...Followed[]], all: boolean) => {
    const { render } = await loaded();
    const now = performance.now();
    budgetMs = Math.min(savedMs, budgetMs + chartsShare * (now - filledMs));
    filledMs = now;
    render(
      runs,
      () => all || budgetMs > 0,
      (spentMs) => {
        budgetMs -= spentMs;
      },
    );
  };

  const server = await servePage(
    {
      page: async () => {
        await refresh(followed(), true);
        return (await loaded()).document(over);
      },
      since: (version) => page?.since(version),
    },
    port,
  );
  const stopped = new AbortController();
  const looking = (async () => {
    const pause = (ms: number) => sleep(ms, undefined, { signal: stopped.signal }).catch(() => {});
    await pause(0); // the caller gets the address first
    while (!stopped.signal.aborted) {
      if (server.viewers > 0 || onState !== undefined) {
        const all = followed();
        const isNew = announce(all);
        if (server.viewers > 0) {
          await refresh(all, isNew);
          server.push();
        }
      }
      await pause(lookMs);
    }
  })();
  return {
    url: server.url,
    port: server.port,
    close: async (message) => {
      stopped.abort();
      await looking;
      over = message;
      if (server.viewers > 0) {
        await refresh(followed(), true);
        server.push();
      }
      await server.close(message);
    },
  };
}
