/**
 * @file Checks in a separate process that an addon loads and computes, before it becomes the engine.
 */
import { fileURLToPath } from 'node:url';
import { run } from '../../../util/process.js';
import { Unavailable } from '../fetch/unavailable.js';

const script = fileURLToPath(new URL('./load-check.js', import.meta.url));

/**
 * @param kernelsPath the addon with tinyzero's kernels, if there is one.
 * @returns TensorFlow's version, and the number of tinyzero's kernels.
 */
export async function checkLoads(
  bindingPath: string,
  kernelsPath?: string,
  signal?: AbortSignal,
): Promise<{ tensorflow: string; ops: number }> {
  const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2', NODE_OPTIONS: '' };
  const args = [script, bindingPath, ...(kernelsPath === undefined ? [] : [kernelsPath])];
  const result = await run(process.execPath, args, { signal, env });
  if (result.code === 0) return JSON.parse(result.stdout) as { tensorflow: string; ops: number };
  throw new Unavailable('load-failed', explain(result));
}

function explain({ code, signal, stderr }: { code: number | null; signal: string | null; stderr: string }): string {
  const glibc = /version `(GLIBC(?:XX)?_[\d.]+)' not found/.exec(stderr)?.[1];
  if (glibc !== undefined) return `The addon does not load: it needs ${glibc}, which is newer than this system has.`;
  const missing = /(\S+): cannot open shared object file/.exec(stderr)?.[1];
  if (missing !== undefined) return `The addon does not load: the library ${missing.replace(/:$/, '')} is missing.`;
  if (signal === 'SIGILL') return 'The addon does not load: TensorFlow uses instructions (AVX) this processor lacks.';
  const reason = /^(?:\w*Error|Error): (.+)$/m.exec(stderr)?.[1] ?? stderr.trim().split('\n').at(-1) ?? '';
  return `The addon does not load (${signal ?? `exit ${code}`}): ${reason.replace(/\.?$/, '.')}`;
}
