/**
 * @file A Chromium for tests of pages and for scripts/screenshot.mjs. `TINYZERO_CHROMIUM` names its program, which
 * scripts/test.mjs sets to that of an npm package; otherwise the usual names are looked for. Nothing is downloaded.
 */
import { type TestContext, test } from 'node:test';
import { type Browser, chromium } from 'playwright-core';
import { findProgram } from '../../src/util/process.js';

const names = [
  'chromium',
  'chromium-browser',
  'google-chrome',
  'google-chrome-stable',
  'microsoft-edge',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

function findChromium(): string | undefined {
  return process.env.TINYZERO_CHROMIUM ?? names.map((name) => findProgram(name)).find((path) => path !== undefined);
}

/** WebGPU's adapter is SwiftShader, the software renderer that is part of Chromium. */
export const withSoftwareWebGpu: readonly string[] = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

/** A headless browser, or undefined if none is installed. */
export async function openChromium(graphics: readonly string[] = ['--disable-gpu']): Promise<Browser | undefined> {
  const executablePath = findChromium();
  // No network is needed: a report must work without one.
  return executablePath === undefined
    ? undefined
    : await chromium.launch({ executablePath, args: [...graphics, '--disable-quic'] });
}

/** A test in a browser of its own; skipped, by name and with the reason, if there is none. */
export function browserTest(
  name: string,
  fn: (browser: Browser, context: TestContext) => Promise<void>,
  graphics?: readonly string[],
): void {
  const missing =
    process.env.TINYZERO_TEST_CHROMIUM_MISSING ?? 'no Chromium is installed (TINYZERO_CHROMIUM names one)';
  const skip = findChromium() === undefined && missing;
  test(name, { skip }, async (context) => {
    const browser = (await openChromium(graphics))!;
    // Other tests run meanwhile, on as little as two processors.
    browser.on('context', (opened) => opened.setDefaultTimeout(120_000));
    try {
      await fn(browser, context);
    } finally {
      await browser.close();
    }
  });
}
