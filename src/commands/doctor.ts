/**
 * @file `tinyzero doctor`: checks the machine, the native engine's files, and the engine that would run. It changes
 * nothing, except that `--engine auto` installs a missing engine first as in every command.
 */
import type { OptionValues } from '../config.js';
import { installationChecks } from '../doctor/installation.js';
import { machineChecks } from '../doctor/machine.js';
import { chooseEngine } from '../engine/choose.js';
import { inspectEngine } from '../engine/installed.js';
import { exitCodes, UserError } from '../errors.js';
import { terminalAsker } from '../run/ask.js';
import { interruptible } from '../run/interrupt.js';
import { consoleReporter } from '../run/progress.js';
import { type Check, formatChecks } from '../util/check.js';

export async function run(values: OptionValues<'engine' | 'install' | 'model' | 'json'>): Promise<number> {
  const checks = await interruptible((signal) => examine(values, signal));
  const ok = checks.every((check) => check.ok || !check.needed);
  if (values.json) process.stdout.write(`${JSON.stringify({ ok, checks }, null, 2)}\n`);
  else
    process.stdout.write(
      `${formatChecks(checks)}\n${ok ? 'Everything needed is here.' : 'Something needed is missing.'}\n`,
    );
  return ok ? exitCodes.ok : exitCodes.failure;
}

async function examine(values: OptionValues<'engine' | 'install' | 'model'>, signal: AbortSignal): Promise<Check[]> {
  const { engine: wanted, install, model } = values;
  const checks = machineChecks();
  if (model !== undefined) checks.push(await (await import('../doctor/model.js')).modelCheck(model));
  const reporter = consoleReporter();
  const ask = terminalAsker(signal);
  let name: 'tensorflow' | 'wasm' | undefined;
  try {
    ({ name } = await chooseEngine({ engine: wanted, install, reporter, signal, ...(ask ? { ask } : {}) }));
  } catch (error) {
    if (!(error instanceof UserError) || signal.aborted) throw error; // the check below tells what is missing
  }
  checks.push(...(await installationChecks(inspectEngine(), wanted === 'tensorflow')));
  if (name !== undefined) checks.push(...(await computeChecks(name, signal)));
  return checks;
}

/** Loads the engine, and so a tensor library: only here. */
async function computeChecks(name: 'tensorflow' | 'wasm', signal: AbortSignal): Promise<Check[]> {
  const [{ openEngine }, { engineChecks }] = await Promise.all([
    import('../engine/backend.js'),
    import('../doctor/engine.js'),
  ]);
  const checks: Check[] = [];
  const attempt = async (what: string, check: () => Promise<Check>) => {
    signal.throwIfAborted();
    try {
      checks.push(await check());
    } catch (error) {
      const found = error instanceof Error ? error.message : String(error);
      const fix = 'Run `tinyzero engine install --force`, or use `--engine wasm`.';
      checks.push({ name: what, ok: false, needed: true, found, expected: 'no error', fix });
    }
  };
  await attempt('engine', async () => {
    const { description } = await openEngine(name);
    return { name: 'engine', ok: true, needed: true, found: description, expected: 'one that opens' };
  });
  if (checks[0]?.ok !== true) return checks;
  const engine = await openEngine(name);
  for (const [what, check] of engineChecks) await attempt(what, () => check(engine));
  return checks;
}
