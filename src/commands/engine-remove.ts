/**
 * @file `tinyzero engine remove`.
 */
import type { OptionValues } from '../config.js';
import { removeEngine } from '../engine/install/remove.js';
import { exitCodes } from '../errors.js';
import { interruptible } from '../run/interrupt.js';
import { consoleReporter } from '../run/progress.js';

export async function run({ json }: OptionValues<'json'>): Promise<number> {
  const removed = await interruptible((signal) => removeEngine(consoleReporter(), signal));
  if (json) process.stdout.write(`${JSON.stringify({ removed })}\n`);
  else process.stdout.write(removed ? `Removed ${removed}.\n` : 'There was nothing to remove.\n');
  return exitCodes.ok;
}
