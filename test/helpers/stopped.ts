/** @file Runs in this process that are stopped, as by Ctrl-C. */
import assert from 'node:assert/strict';
import { train } from '../../src/index.js';

/** Begins a run, and stops it after update `step`. */
export async function stopAfter(step: number, request: Parameters<typeof train>[0]): Promise<void> {
  const stop = new AbortController();
  const run = train({ ...request, signal: stop.signal }, (event) => {
    if (event.kind === 'step' && event.metrics.step === step) stop.abort();
  });
  await assert.rejects(run, /Stopped/);
}
