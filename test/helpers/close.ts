/** @file Compares arrays of numbers within a stated tolerance. */
import assert from 'node:assert/strict';

export interface Tolerance {
  /** Allowed difference as a share of the expected number's size. */
  readonly relative?: number;
  /** Allowed difference whatever the size. */
  readonly absolute?: number;
}

/** Fails unless every |actual - expected| <= absolute + relative * |expected|. NaN equals NaN; infinities must agree. */
export function assertClose(
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { relative = 0, absolute = 0 }: Tolerance = {},
): void {
  assert.equal(actual.length, expected.length, `${what}: number of elements`);
  for (let index = 0; index < expected.length; index++) {
    const found = actual[index]!;
    const wanted = expected[index]!;
    const finite = Number.isFinite(found) && Number.isFinite(wanted);
    const fits = finite
      ? Math.abs(found - wanted) <= absolute + relative * Math.abs(wanted)
      : found === wanted || (Number.isNaN(found) && Number.isNaN(wanted));
    if (!fits) {
      assert.fail(
        `${what}: element ${index} is ${found}, expected ${wanted} (relative ${relative}, absolute ${absolute})`,
      );
    }
  }
}
