/**
 * @file Python with the reference libraries, for tests that compare with them. `TINYZERO_PYTHON` names the
 * interpreter, such as a virtual environment's; otherwise `python3`. Tests that find none are skipped by name.
 */
import { spawnSync } from 'node:child_process';

const python = process.env.TINYZERO_PYTHON ?? 'python3';

/** A reason to skip, or false when `modules` can all be imported. */
export function withoutPython(...modules: readonly string[]): string | false {
  const probe = spawnSync(python, ['-c', modules.map((name) => `import ${name}`).join('\n')], { timeout: 120_000 });
  return probe.status === 0 ? false : `${python} with ${modules.join(', ')} is not here (TINYZERO_PYTHON names one)`;
}

/** Runs `script`, which reads JSON from standard input and prints JSON as its last line. */
export function runPython(script: string, input: unknown, args: readonly string[] = []): unknown {
  const run = spawnSync(python, ['-c', script, ...args], {
    input: JSON.stringify(input),
    encoding: 'utf8',
    env: { ...process.env, HF_HUB_OFFLINE: '1', PYTHONIOENCODING: 'utf-8' },
    maxBuffer: 2 ** 28,
    timeout: 300_000,
  });
  if (run.status !== 0) throw new Error(`python failed (${run.status ?? run.signal}):\n${run.stderr}`);
  return JSON.parse(run.stdout.trimEnd().split('\n').at(-1)!);
}
