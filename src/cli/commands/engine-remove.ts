/**
 * @file `tinyzero engine remove`.
 */

import { removeEngine } from '../../engine/install/remove.js';
import type { OptionValues } from '../../options/table.js';
import { exitCodes } from '../../util/errors.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

export async function run({ json, quiet }: OptionValues<'json' | 'quiet'>): Promise<number> {
  const removed = await interruptible((signal) => removeEngine(consoleReporter({ quiet }), signal));
  printResult(json, { removed }, () => [removed ? `Removed ${removed}.` : 'There was nothing to remove.']);
  return exitCodes.ok;
}
