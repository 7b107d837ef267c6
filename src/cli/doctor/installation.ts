/**
 * @file The installation checks of `doctor`: the native engine's files, without loading them.
 */
import { join } from 'node:path';
import { nvidiaGpus } from '../../engine/cuda.js';
import { type EngineState, findDamagedFiles } from '../../engine/install/installed.js';
import { lockHolder } from '../../engine/install/lock.js';
import type { Check } from './check.js';
import { nvidiaChecks } from './nvidia.js';

/** @param needed whether the native engine was requested by name. */
export async function installationChecks(state: EngineState, needed: boolean): Promise<Check[]> {
  return [
    await engineCheck(state, needed),
    ...leftoverCheck(state),
    ...nvidiaChecks(nvidiaGpus(), state.engine?.variant),
  ];
}

async function engineCheck({ root, engine, broken }: EngineState, needed: boolean): Promise<Check> {
  const common = { name: 'native engine', needed, expected: 'TensorFlow 2.21 in the cache, every file as installed' };
  const fix = 'Run `tinyzero engine install`.';
  if (broken !== undefined) return { ...common, ok: false, found: `broken in ${root}: ${broken}`, fix };
  if (engine === undefined) return { ...common, ok: false, found: 'not installed: WebAssembly runs instead', fix };
  const damaged = await findDamagedFiles(engine);
  if (damaged.length > 0) {
    const found = `damaged: ${damaged[0]}${damaged.length > 1 ? ` and ${damaged.length - 1} more` : ''}`;
    return { ...common, ok: false, needed: true, found, fix: 'Run `tinyzero engine install --force`.' };
  }
  const { tensorflow, variant, source, manifest, folder } = engine;
  const found = `TensorFlow ${tensorflow} (${variant}), ${manifest.kernels === undefined ? 'without' : 'with'} native kernels, ${folder}`;
  return { ...common, ok: source === 'wheel', needed: false, found, fix: `${fix.slice(0, -1)} --force\` to get 2.21.` };
}

/** Present only if there are leftovers. */
function leftoverCheck({ root, leftovers }: EngineState): Check[] {
  if (leftovers.length === 0) return [];
  const holder = lockHolder(join(root, 'install.lock'));
  return [
    {
      name: 'leftovers',
      ok: holder !== undefined,
      needed: false,
      found:
        holder === undefined
          ? `an interrupted install left ${leftovers.join(', ')}; no engine uses it`
          : `an install is in progress (${holder})`,
      expected: 'nothing',
      fix: '`tinyzero engine install` resumes it; `tinyzero engine remove` removes everything.',
    },
  ];
}
