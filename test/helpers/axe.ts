/** @file Checks of a page that hold at every width: axe-core's rules, and nothing wider than the window. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';

interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly html: string }[];
}

/** A phone, a tablet and a desktop, in both themes. */
export const threeSizes = [
  { viewport: { width: 360, height: 800 }, colorScheme: 'light' },
  { viewport: { width: 800, height: 900 }, colorScheme: 'dark' },
  { viewport: { width: 1400, height: 900 }, colorScheme: 'light' },
] as const;

/** Fails if axe finds something serious or critical, or if the page scrolls sideways. */
export async function assertAccessible(page: Page, when = ''): Promise<void> {
  // By the debugger, since a page's own policy lets no other script run.
  await page.evaluate(readFileSync('node_modules/axe-core/axe.min.js', 'utf8'));
  const found = await page.evaluate<Violation[]>('axe.run().then(({ violations }) => violations)');
  const serious = found.filter(({ impact }) => /serious|critical/.test(impact));
  const width = page.viewportSize()?.width;
  assert.deepEqual(
    serious.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`),
    [],
    `${when} at ${width}`,
  );
  assert.ok(
    await page.evaluate<boolean>('document.documentElement.scrollWidth <= innerWidth'),
    `${when} is wider than ${width}`,
  );
}
