/**
 * @file A time limit for synchronous work on untrusted input, such as a regular expression that backtracks forever. Only V8
 * itself can stop such work, which Node offers as the `timeout` of a script.
 */
import { createContext, Script } from 'node:vm';

const slot: { work?: () => unknown } = createContext({});
const call = new Script('work()');

/**
 * The result of `work`, which must not call this function itself. Costs about 0.1 ms.
 *
 * @throws RangeError when it takes longer than `milliseconds`; whatever `work` throws.
 */
export function withinTime<T>(milliseconds: number, work: () => T): T {
  slot.work = work;
  try {
    return call.runInContext(slot, { timeout: Math.ceil(milliseconds) }) as T;
  } catch (error) {
    // The error is of the script's realm, no instance of this one's Error.
    if ((error as { code?: unknown } | null)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
      throw new RangeError(`it takes longer than ${Math.round(milliseconds)} ms`, { cause: error });
    }
    throw error;
  } finally {
    delete slot.work;
  }
}
