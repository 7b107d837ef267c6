/**
 * @file `tinyzero doctor`: checks the machine, the native engine's files, and the engine that would run. It changes
 * nothing, except that `--engine auto` first installs a missing engine, as in every command.
 */
import type { EngineName } from '../../engine/choices.js';
import { nvidiaGpus } from '../../engine/cuda.js';
import { cudaLibraryFault } from '../../engine/install/build/loading.js';
import { chooseEngine } from '../../engine/install/choose.js';
import { findInstalledEngine, inspectEngine } from '../../engine/install/installed.js';
import type { OptionValues } from '../../options/table.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { countedWork, type Reporter } from '../../util/reporter.js';
import {
  type Check,
  failedCheck,
  formatChecks,
  installationChecks,
  machineChecks,
  usedGpuChecks,
  webGpuChecks,
} from '../doctor/machine.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

export async function run(values: OptionValues<'engine' | 'install' | 'model' | 'json' | 'quiet'>): Promise<number> {
  const checks = await interruptible((signal) => examine(values, signal));
  const ok = checks.every((check) => check.ok || !check.needed);
  printResult(values.json, { ok, checks }, (paint) => [
    formatChecks(checks),
    ok
      ? paint.good('This machine meets every requirement.')
      : paint.bad('A required check failed: see the lines marked FAIL.'),
  ]);
  return ok ? exitCodes.ok : exitCodes.failure;
}

async function examine(
  values: OptionValues<'engine' | 'install' | 'model' | 'quiet'>,
  signal: AbortSignal,
): Promise<Check[]> {
  const { engine: wanted, install, model } = values;
  const checks = machineChecks();
  if (model !== undefined) checks.push(await (await import('../doctor/engine.js')).modelCheck(model));
  const reporter = consoleReporter(values);
  let name: EngineName | undefined;
  try {
    ({ name } = await chooseEngine({ engine: wanted, install, reporter, signal }));
  } catch (error) {
    if (!(error instanceof UserError) || signal.aborted) throw error; // the check below reports what is missing
  }
  checks.push(...(await installationChecks(inspectEngine(), wanted === 'tensorflow')));
  const graphics = await webGpuChecks(wanted === 'webgpu', signal);
  checks.push(...graphics);
  const cannotOpen = name === 'webgpu' && graphics.some(({ ok, needed }) => needed && !ok); // it would say the same again
  if (name !== undefined && !cannotOpen) checks.push(...(await computeChecks(name, reporter, signal)));
  return checks;
}

/** What to do if an engine fails for a reason that does not say it. */
const otherEngine: Readonly<Record<EngineName, string>> = {
  tensorflow: 'Run `tinyzero engine install --force`, or use `--engine wasm`.',
  webgpu: 'Use `--engine wasm`.',
  wasm: 'Use `--engine tensorflow`.',
};

/** Loads the engine only here. */
async function computeChecks(name: EngineName, reporter: Reporter, signal: AbortSignal): Promise<Check[]> {
  const [{ openEngine }, { checksOf }] = await Promise.all([
    import('../../engine/backend.js'),
    import('../doctor/engine.js'),
  ]);
  const checks: Check[] = [];
  const attempt = async (what: string, check: () => Promise<Check>) => {
    signal.throwIfAborted();
    try {
      checks.push(await check());
    } catch (error) {
      const parts =
        error instanceof UserError ? error.parts : { problem: error instanceof Error ? error.message : String(error) };
      checks.push(failedCheck({ name: what, needed: true, expected: 'no error', fix: otherEngine[name] }, parts));
    }
  };
  await attempt('engine', async () => {
    const { description } = await openEngine(name);
    return { name: 'engine', ok: true, needed: true, found: description, expected: 'an engine that opens' };
  });
  if (checks[0]?.ok !== true) return checks;
  const engine = await openEngine(name);
  const installed = name === 'tensorflow' ? findInstalledEngine() : undefined;
  if (installed?.variant === 'gpu') {
    const fault = engine.device === 'gpu' ? undefined : await cudaLibraryFault(installed.folder, signal);
    checks.push(...usedGpuChecks(nvidiaGpus(), installed.variant, engine.device, fault));
  }
  const engineChecks = checksOf(engine);
  return await countedWork(reporter.work('Checking the engine', 'checks'), engineChecks.length, async (tick) => {
    for (const [what, check] of engineChecks) {
      await attempt(what, () => check(engine));
      tick();
    }
    return checks;
  });
}
