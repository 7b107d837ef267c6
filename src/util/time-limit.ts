/**
 * @file A time limit for synchronous work on untrusted input, such as a regular expression that backtracks forever. Only V8
 * itself can stop such work, which Node offers as the `timeout` of a script.
 */
import { createContext, Script } from 'node:vm';

const slot: { work?: () => unknown } = createContext({});
const call = new Script('work()');

/**
 * Returns the result of `work`, which must not call this function itself and may be started again. Costs about 0.1 ms.
 *
 * V8 measures wall-clock time. If this process received little processor time meanwhile, as on a busy machine, the limit
 * says nothing about the work, which is then repeated with twice the time.
 *
 * @throws RangeError when it takes longer than `milliseconds`; whatever `work` throws.
 */
export function withinTime<T>(milliseconds: number, work: () => T): T {
  for (let limit = milliseconds; ; limit *= 2) {
    const before = process.cpuUsage();
    slot.work = work;
    try {
      return call.runInContext(slot, { timeout: Math.ceil(limit) }) as T;
    } catch (error) {
      // The error comes from the script's realm, so it is not an instance of this realm's Error.
      if ((error as { code?: unknown } | null)?.code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
      const { user, system } = process.cpuUsage(before);
      if ((user + system) / 1000 < milliseconds / 2) continue;
      throw new RangeError(`it takes longer than ${Math.round(milliseconds)} ms`, { cause: error });
    } finally {
      delete slot.work;
    }
  }
}
