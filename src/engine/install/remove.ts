/**
 * @file `engine remove`. The pointer is removed first, so that no process finds a half-removed engine.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Reporter } from '../../util/reporter.js';
import { engineRoot } from './installed.js';
import { acquireLock } from './lock.js';

/** Removes this platform's engine, downloads and leftovers; returns the folder, or undefined if there was none. */
export async function removeEngine(reporter: Reporter, signal: AbortSignal): Promise<string | undefined> {
  const root = engineRoot();
  if (!existsSync(root)) return undefined;
  const release = await acquireLock(join(root, 'install.lock'), {
    signal,
    onWait: (holder) => reporter.line(`Waiting for ${holder}, which is installing the engine.`),
    onLost: () => {}, // removing twice is harmless
  });
  try {
    rmSync(join(root, 'current.json'), { force: true });
    for (const name of readdirSync(root)) {
      if (!name.startsWith('install.lock')) rmSync(join(root, name), { recursive: true, force: true });
    }
  } finally {
    await release();
  }
  return root;
}
