/** @file What a reward gives: how good a completion is, and what the reward may know besides its text. */

/** How good a completion is. */
export interface Score {
  /** From 0 to 1; what training maximises. */
  readonly reward: number;
  /** Whether the completion counts as right; what accuracy counts. */
  readonly exact: boolean;
  /** Whether an answer in the asked-for form was found; the format rate counts this. */
  readonly parsed: boolean;
  /** Named components of the reward, averaged in the log. */
  readonly parts: Readonly<Record<string, number>>;
}

/** What a reward may know of a completion besides its text. */
export interface CompletionInfo {
  /** The model ended the completion itself; false when it was cut off at the token limit. */
  readonly finished: boolean;
}
