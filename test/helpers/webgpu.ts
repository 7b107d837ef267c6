/**
 * @file Tests that need WebGPU: they run on SwiftShader, which scripts/test.mjs sets up, or with TINYZERO_TEST_GPU=1 on this machine's
 * card; without a driver they are reported as skipped, by name and with the reason.
 */
import { type TestContext, test } from 'node:test';

const missing =
  process.env.TINYZERO_TEST_WEBGPU_MISSING ??
  (process.env.VK_ICD_FILENAMES === undefined && process.env.TINYZERO_TEST_GPU !== '1'
    ? 'no driver: run it with scripts/test.mjs, or on a card with TINYZERO_TEST_GPU=1'
    : undefined);

export function webGpuTest(name: string, fn: (context: TestContext) => void | Promise<void>): void {
  if (missing !== undefined) test(name, { skip: missing }, () => {});
  else test(name, fn);
}
