/** @file Assertions about errors meant for the user. */
import assert from 'node:assert/strict';
import { UserError } from '../../src/util/errors.js';

/** Fails unless `run` throws a UserError whose text matches every pattern. */
export function assertUserError(run: () => unknown, ...patterns: RegExp[]): void {
  assert.throws(run, (error) => matches(error, patterns));
}

/** As {@link assertUserError} for a promise. */
export async function assertUserRejection(promise: Promise<unknown>, ...patterns: RegExp[]): Promise<void> {
  await assert.rejects(promise, (error) => matches(error, patterns));
}

function matches(error: unknown, patterns: RegExp[]): true {
  assert.ok(error instanceof UserError, `not a UserError: ${error instanceof Error ? error.stack : error}`);
  for (const pattern of patterns) assert.match(error.message, pattern);
  return true;
}
