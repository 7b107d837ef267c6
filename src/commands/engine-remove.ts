/**
 * @file `tinyzero engine remove`.
 */
import type { OptionValues } from '../config.js';
import { removeEngine } from '../engine/install/remove.js';
import { exitCodes } from '../errors.js';
import { interruptible } from '../run/interrupt.js';
import { printResult } from '../run/output.js';
import { consoleReporter } from '../run/progress.js';

export async function run({ json, quiet }: OptionValues<'json' | 'quiet'>): Promise<number> {
  const removed = await interruptible((signal) => removeEngine(consoleReporter({ quiet }), signal));
  printResult(json, { removed }, () => [removed ? `Removed ${removed}.` : 'There was nothing to remove.']);
  return exitCodes.ok;
}
