/**
 * @file How long work tells its story, without knowing who listens: a terminal, a log, a test.
 */

export interface Reporter {
  /** One line that stays, such as `TensorFlow 2.21.0 runs.` */
  line(text: string): void;
  /** Starts a measured piece of work; `total` is in bytes, 0 when unknown. */
  transfer(title: string, total: number): Transfer;
  /** Starts work that is counted; nothing is shown of work that is done in no time. */
  work(title: string, unit: WorkUnit): Work;
  /** Asks a yes-or-no question, yes being the default. Absent where nobody can answer. */
  readonly ask?: (question: string, signal: AbortSignal) => Promise<boolean>;
}

export interface Transfer {
  /** Bytes done so far, of `total`. */
  update(done: number): void;
  end(): void;
}

export type WorkUnit = 'bytes' | 'checks' | 'completions' | 'lines' | 'steps' | 'updates' | 'wordings';

export interface Work {
  /** To be called as often as is convenient. */
  update(state: WorkState): void;
  /** Takes the work off the screen until its next update, so that something else can be written. */
  hide(): void;
  end(): void;
}

export interface WorkState {
  readonly done: number;
  readonly total: number;
  /** Where units differ in size: what is done and what all is expected to take, in another measure. Foretells the time. */
  readonly effort?: { readonly done: number; readonly total: number };
  /** Seconds that the rest of the job will take after this work, where that is known: the time left is then the job's. */
  readonly after?: number;
  /** More lines for a terminal of this many characters; called only when they are shown. */
  readonly details?: (width: number) => readonly string[];
  /** A line for a log, which has no moving parts. */
  readonly note?: string;
}

/** Work of `total` units from its first to its last; `run` calls `tick` for each that is done. */
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

/** Says nothing. */
export const silentReporter: Reporter = {
  line: () => {},
  transfer: () => ({ update: () => {}, end: () => {} }),
  work: () => ({ update: () => {}, hide: () => {}, end: () => {} }),
};
