/**
 * @file Asks whether WebGPU has a card here, in a process of its own: a driver may print, or crash, and neither must happen to a
 * command that only chooses an engine.
 */
import { fileURLToPath } from 'node:url';
import { run } from '../../util/process.js';
import type { AdapterFacts } from './adapter.js';
import { missingPackages } from './dawn.js';

/** The adapter, or why there is none. */
export type WebGpuProbe =
  | { readonly adapter: AdapterFacts; readonly missing?: undefined }
  | { readonly adapter?: undefined; readonly missing: string };

export async function probeWebGpu(signal?: AbortSignal): Promise<WebGpuProbe> {
  const missing = missingPackages();
  if (missing.length > 0) return { missing: `not installed: npm install ${missing.join(' ')}` };
  const child = fileURLToPath(new URL('./probe-child.js', import.meta.url));
  const { stdout, stderr, code } = await run(process.execPath, [child], { ...(signal && { signal }) });
  const line = stdout.split('\n').find((text) => text.startsWith('{'));
  if (code === 0 && line !== undefined) return JSON.parse(line) as WebGpuProbe;
  return { missing: `the driver failed: ${stderr.trim().split('\n').at(-1) || `exit code ${code}`}` };
}
