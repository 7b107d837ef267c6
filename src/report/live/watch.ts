/**
 * @file Watches runs, sets of runs or files of stage 1: reads them regularly, renders the live page and serves it. Reading and
 * rendering take a small share of one processor at any size, and nothing is rendered while no browser has the page open.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Look, type LookedAt, lookAt } from './look.js';
import type { LivePage } from './page.js';
import { type PageServer, servePage } from './server.js';

export interface WatchOptions {
  /** Folders of runs, the first of which the page is about, one folder of a set, or V* files; they need not exist yet. */
  readonly paths: readonly [string, ...string[]];
  /** 0 for any free one. */
  readonly port: number;
  /** Called when a run or file starts, stops, is finished or is removed, with a sentence about it. */
  readonly onState?: (what: Pick<LookedAt, 'name' | 'path' | 'state'>, sentence: string) => void;
}

export interface Watching extends Pick<PageServer, 'url' | 'port'> {
  /** Brings the page up to date, tells the browsers why nothing more comes, and closes the server. */
  close(message: string): Promise<void>;
}

/** Milliseconds between two looks at the files, at least. */
const lookMs = 500;
/** The part of the time that looking at many files may take. */
const looksShare = 0.1;
/** The part of a processor that drawing charts may take. */
const chartsShare = 0.08;
/** Milliseconds of drawing that may be saved up, so that the first charts come at once. */
const savedMs = 400;

/** @throws UserError when the port is in use, or the paths do not go together. */
export async function watchRuns({ paths, port, onState }: WatchOptions): Promise<Watching> {
  let page: LivePage | undefined;
  /** The chart library takes a while to load, so it is loaded when somebody looks. */
  const loaded = async () => {
    const { livePage } = await import('./page.js');
    page ??= livePage();
    return page;
  };
  const look = lookAt(paths);
  const states = new Map<string, LookedAt['state']>();
  let budgetMs = savedMs;
  let filledMs = performance.now();
  let over = '';

  const announce = (found: Look) => {
    let isNew = false;
    for (const { name, path, state, sentence } of found.states) {
      if (states.get(path) === state) continue;
      states.set(path, state);
      isNew = true;
      onState?.({ name, path, state }, sentence());
    }
    return isNew;
  };
  /** Draws what there is time for; `all`: everything. */
  const refresh = async (found: Look, all: boolean) => {
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
        await refresh(look(), true);
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
      const startMs = performance.now();
      let tookMs = 0;
      if (server.viewers > 0 || onState !== undefined) {
        const found = look();
        tookMs = performance.now() - startMs;
        const isNew = announce(found);
        if (server.viewers > 0) {
          await refresh(found, isNew);
          server.push();
        }
      }
      await pause(Math.max(lookMs, tookMs / looksShare));
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
        await refresh(look(), true);
        server.push();
      }
      await server.close(message);
    },
  };
}
