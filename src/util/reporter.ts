/**
 * @file How long-running work reports progress, independent of the listener (a terminal, a log or a test), and lets other
 * events be handled.
 */

export interface Reporter {
  /** Writes a permanent line, such as `TensorFlow 2.21.0 runs.` */
  line(text: string): void;
  /** Starts a transfer of `total` bytes; 0 if unknown. */
  transfer(title: string, total: number): Transfer;
  /** Starts counted work. Nothing is shown if it finishes almost immediately. */
  work(title: string, unit: WorkUnit): Work;
  /** Asks a yes-or-no question, with yes as the default. Absent if nobody can answer. */
  readonly ask?: (question: string, signal: AbortSignal) => Promise<boolean>;
}

export interface Transfer {
  /** Bytes done so far, of `total`. */
  update(done: number): void;
  end(): void;
}

export const workUnits = ['bytes', 'checks', 'completions', 'lines', 'runs', 'steps', 'updates', 'wordings'] as const;
export type WorkUnit = (typeof workUnits)[number];

export interface Work {
  /** May be called as often as is convenient. */
  update(state: WorkState): void;
  /** Removes the work from the screen until its next update, so that something else can be written. */
  hide(): void;
  end(): void;
}

export interface WorkState {
  readonly done: number;
  readonly total: number;
  /** If units differ in size: effort done and expected in total, from which the time left is estimated. */
  readonly effort?: { readonly done: number; readonly total: number };
  /** Seconds that the job will take after this work, if known; they are added to the time left. */
  readonly after?: number;
  /** Additional lines for a terminal of `width` characters; called only when they are shown. */
  readonly details?: (width: number) => readonly string[];
  /** Appended to the lines of a log; called only when one is written. */
  readonly summary?: () => string;
  /** A line for a log, which shows no live progress. */
  readonly note?: string;
}

/** Reports work of `total` units from start to end; `run` calls `tick` after each unit. */
export async function countedWork<T>(work: Work, total: number, run: (tick: () => void) => Promise<T>): Promise<T> {
  let done = 0;
  const tick = () => work.update({ done: ++done, total });
  try {
    work.update({ done, total });
    return await run(tick);
  } finally {
    work.end();
  }
}

/** Reports nothing. */
export const silentReporter: Reporter = {
  line: () => {},
  transfer: () => ({ update: () => {}, end: () => {} }),
  work: () => ({ update: () => {}, hide: () => {}, end: () => {} }),
};

/**
 * Waits for a turn of the event loop, in Node or in a browser, in which Ctrl-C, messages and output are handled. Long
 * computations call it from time to time.
 */
export function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') {
      setImmediate(resolve);
      return;
    }
    // A browser delays timers set by timers, but not messages.
    const { port1, port2 } = new MessageChannel();
    const receiver = port1 as { onmessage?: () => void; close(): void };
    receiver.onmessage = () => {
      receiver.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
