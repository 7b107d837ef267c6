/** @file Folders for tests: the fixtures, and temporary ones that are removed afterwards. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const fixtures = fileURLToPath(new URL('../../../test/fixtures', import.meta.url));

export const fixtureModels = ['qwen2-tied-f32', 'qwen2-untied-bf16', 'qwen3-tied', 'llama'] as const;
export type FixtureModel = (typeof fixtureModels)[number];

export function fixture(...parts: string[]): string {
  return join(fixtures, ...parts);
}

/** The parsed JSON of a fixture. */
// biome-ignore lint/suspicious/noExplicitAny: every fixture has its own form
export function readFixture(...parts: string[]): any {
  return JSON.parse(readFileSync(fixture(...parts), 'utf8'));
}

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tinyzero-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A copy of a fixture model that the test may damage. */
export function copyOfModel(t: TestContext, model: FixtureModel): string {
  const folder = join(temporaryFolder(t), model);
  cpSync(fixture(model), folder, { recursive: true });
  return folder;
}

/** Rewrites a JSON file with the fields of `change`; undefined removes one. */
export function changeJson(path: string, change: Record<string, unknown>): void {
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }));
}
