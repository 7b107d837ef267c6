/** @file A page that trains a few problems of the built-in model, and the same run by `train` on the wasm engine. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Page } from 'playwright-core';
import type { ExportResult } from '../../src/model/export/export.js';
import { defaultOptions, type TrainingOptions } from '../../src/options/settings.js';
import { exportWeb } from '../../src/report/web/export.js';
import { train } from '../../src/run/train.js';
import { silentReporter } from '../../src/util/reporter.js';
import { temporaryFolder } from './files.js';

const never = new AbortController().signal;

/** Seven problems of 6 × 6 to 9 × 9, two updates. */
export const tinyRun = defaultOptions({
  ...{ min: 6, max: 9, numTrain: 8, numTest: 4, numSamples: 4, batchSize: 4, epochs: 1, evalSamples: 1 },
  ...{ trainOn: 'all', curriculum: 'none', force: true, maxSteps: 2, maxNewTokens: 24, seed: 5 },
});

export function exportedPage(t: TestContext, training: TrainingOptions = tinyRun): Promise<ExportResult> {
  const models = [{ reference: 'builtin', name: 'builtin' }];
  const out = join(temporaryFolder(t), 'web');
  const request = { models, training, out, check: false, train: true, engine: 'wasm', install: false } as const;
  return exportWeb(request, silentReporter, never);
}

/** The weights of a run of `train` on the wasm engine, as a file. */
export async function trainedHere(t: TestContext, options: TrainingOptions = tinyRun): Promise<Buffer> {
  const folder = join(temporaryFolder(t), 'run');
  const taskApi = () => Promise.reject(new Error('not needed'));
  const request = { options, folder, resume: false, engine: 'wasm', install: false, taskApi } as const;
  await train(request, () => {}, silentReporter, never);
  return readFileSync(join(folder, 'final/model.safetensors'));
}

/** The file that the page gives when its button is pressed. */
export async function downloadedWeights(page: Page): Promise<Buffer> {
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#weights').click()]);
  assert.equal(download.suggestedFilename(), 'model.safetensors');
  return readFileSync(await download.path());
}
