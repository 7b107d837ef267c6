/**
 * @file Kills an installing process at a given moment and checks the result: a complete old engine, a complete new one, or
 * none; `engine status` and the next install must cope with the leftovers.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { findDamagedFiles, inspectEngine } from '../../src/engine/install/installed.js';
import { merge, tinyzero } from './cli.js';

export interface Killed {
  /** Whether it was still running. */
  readonly killed: boolean;
  readonly elapsedMs: number;
}

/** Runs Node with `args` and kills it with SIGKILL after `afterMs`. */
export async function runAndKill(
  args: readonly string[],
  afterMs: number,
  env: Record<string, string>,
): Promise<Killed> {
  const start = performance.now();
  const child = spawn(process.execPath, args, { env: merge(env), stdio: 'ignore' });
  const ended = new Promise<boolean>((resolve) => child.on('exit', (_code, signal) => resolve(signal === 'SIGKILL')));
  const timer = setTimeout(() => child.kill('SIGKILL'), afterMs);
  const killed = await ended;
  clearTimeout(timer);
  await sleep(50); // a program that it had started notices that nobody reads its output
  return { killed, elapsedMs: performance.now() - start };
}

/** Checks the state that a killed install left in `cache`. Returns its name. */
export async function judgeState(cache: string, before: string | undefined): Promise<'old' | 'new' | 'none'> {
  const state = inspectEngine({ TINYZERO_CACHE: cache });
  assert.equal(state.broken, undefined, 'never half an engine');
  if (state.engine !== undefined) assert.deepEqual(await findDamagedFiles(state.engine), [], 'every file as installed');
  if (before !== undefined) assert.ok(state.engine, 'the old engine does not vanish');
  const { code, stdout } = await tinyzero(['engine', 'status'], { TINYZERO_CACHE: cache });
  assert.equal(code, state.engine === undefined ? 1 : 0);
  assert.match(stdout, state.engine === undefined ? /No native engine is installed/ : /^TensorFlow 2\./);
  if (state.leftovers.length > 0) {
    assert.match(stdout, /An interrupted install left these files/);
    for (const path of state.leftovers) assert.ok(stdout.includes(path));
  }
  if (state.engine === undefined) return 'none';
  return state.engine.folder === before ? 'old' : 'new';
}
