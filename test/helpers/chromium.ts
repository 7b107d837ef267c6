/**
 * @file An installed Chromium, for tests of the rendered report and for scripts/screenshot.mjs.
 * `TINYZERO_CHROMIUM` names its program; otherwise the usual names are looked for. Nothing is downloaded.
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

/** A headless browser, or undefined if none is installed. */
export async function openChromium(): Promise<Browser | undefined> {
  const executablePath = findChromium();
  // No network is needed: a report must work without one.
  return executablePath === undefined
    ? undefined
    : await chromium.launch({ executablePath, args: ['--disable-gpu', '--disable-quic'] });
}

/** A test in a browser of its own; skipped, by name and with the reason, if there is none. */
export function browserTest(name: string, fn: (browser: Browser, context: TestContext) => Promise<void>): void {
  const skip = findChromium() === undefined && 'no Chromium is installed (TINYZERO_CHROMIUM names one)';
  test(name, { skip }, async (context) => {
    const browser = (await openChromium())!;
    try {
      await fn(browser, context);
    } finally {
      await browser.close();
    }
  });
}
