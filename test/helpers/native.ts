/**
 * @file Tests that need native TensorFlow: they run if the engine is installed (by scripts/test.mjs), and are reported as skipped, by name and with the reason, if it is unavailable.
 */
import { type TestContext, test } from 'node:test';
import { findInstalledEngine } from '../../src/engine/install/installed.js';

const missing = process.env.TINYZERO_TEST_NATIVE_MISSING ?? 'no native engine is installed';

export function nativeTest(name: string, fn: (context: TestContext) => void | Promise<void>): void {
  if (findInstalledEngine() === undefined) test(name, { skip: missing }, () => {});
  else test(name, fn);
}
