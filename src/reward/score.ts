/** @file What a reward returns, and what it receives besides the text of a completion. */

/** The score of a completion. */
export interface Score {
  /** From 0 to 1; what training maximises. */
  readonly reward: number;
  /** Whether the completion counts as correct, for accuracy. */
  readonly exact: boolean;
  /** Whether an answer in the requested form was found, for the format rate. */
  readonly parsed: boolean;
  /** Named components of the reward. */
  readonly parts: Readonly<Record<string, number>>;
}

/** Information about a completion besides its text. */
export interface CompletionInfo {
  /** Whether the model ended the completion; false if it was cut off at the token limit. */
  readonly finished: boolean;
}
