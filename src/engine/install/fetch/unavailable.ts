/**
 * @file The error of a source that failed for an expected reason; the next source is then tried.
 */

/** Kind of obstacle, printed by `--json`; scripts/native.mjs checks it. */
export type Obstacle =
  | 'unsupported-platform'
  | 'no-pip'
  | 'no-npm'
  | 'no-compiler'
  | 'no-network'
  | 'no-space'
  | 'download-failed'
  | 'wrong-hash'
  | 'build-failed'
  | 'load-failed';

export class Unavailable extends Error {
  override readonly name = 'Unavailable';
  constructor(
    readonly obstacle: Obstacle,
    /** One plain sentence that ends in a full stop. */
    sentence: string,
    options?: ErrorOptions,
  ) {
    super(sentence, options);
  }
}
