/**
 * @file How much memory this process may use.
 */
import { totalmem } from 'node:os';

/** Bytes: in a container the limit of its group, not the machine's memory, is what counts. */
export function memoryLimit(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}
