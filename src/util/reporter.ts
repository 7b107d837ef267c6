/**
 * @file How long work tells its story, without knowing who listens: a terminal, a log, a test.
 */

export interface Reporter {
  /** One line that stays, such as `TensorFlow 2.21.0 runs.` */
  line(text: string): void;
  /** Starts a measured piece of work; `total` is in bytes, 0 when unknown. */
  transfer(title: string, total: number): Transfer;
}

export interface Transfer {
  /** Bytes done so far, of `total`. */
  update(done: number): void;
  end(): void;
}

/** Says nothing. */
export const silentReporter: Reporter = {
  line: () => {},
  transfer: () => ({ update: () => {}, end: () => {} }),
};
