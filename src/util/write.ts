/**
 * @file Writing files for the user: the system's refusals (disk full, no permission) become explanations.
 */
import { systemErrorCode, UserError } from './errors.js';

const reasons: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'your disk quota is used up',
  EACCES: 'permission is denied',
  EPERM: 'permission is denied',
  ENOENT: 'its folder does not exist and cannot be created',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of the path is a file, not a folder',
  EEXIST: 'a file of that name is in the way',
  EISDIR: 'a folder of that name is in the way',
  EFBIG: 'it would grow beyond the largest file allowed here',
  EIO: 'the disk reports an error',
  EMFILE: 'too many files are open',
};

/** Runs `write`; a known system error becomes a UserError that names `path`. What was whole before still is. */
export function explainWrites<T>(path: string, write: () => T, fix?: string): T {
  try {
    return write();
  } catch (error) {
    throw explained(path, error, fix);
  }
}

/** {@link explainWrites} for asynchronous writes. */
export async function explainAsyncWrites<T>(path: string, write: () => Promise<T>, fix?: string): Promise<T> {
  try {
    return await write();
  } catch (error) {
    throw explained(path, error, fix);
  }
}

const runFix = 'Nothing that was complete is lost. Fix this and continue with --resume, or choose another --out.';

function explained(path: string, error: unknown, fix = runFix): unknown {
  const reason = reasons[systemErrorCode(error) ?? ''];
  if (reason === undefined) return error;
  return new UserError({ problem: `${path} cannot be written: ${reason}.`, fix }, { cause: error });
}
