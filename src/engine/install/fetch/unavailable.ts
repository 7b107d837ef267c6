/**
 * @file Why a rung of the ladder cannot be taken: expected obstacles, told in one sentence, that lead to the next rung.
 */

/** Machine-readable kind of obstacle, in `--json` and for the tests' verdict whether the engine could have been had. */
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
