/**
 * @file `tinyzero doctor`.
 */
import type { OptionValues } from '../config.js';
import { exitCodes } from '../errors.js';

export async function run(_values: OptionValues<'engine' | 'install' | 'model' | 'json'>): Promise<number> {
  return exitCodes.ok;
}
