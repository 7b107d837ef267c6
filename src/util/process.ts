/**
 * @file Finds programs on the PATH and runs them without a shell.
 */
import { spawn } from 'node:child_process';
import { delimiter } from 'node:path';
import which from 'which';
import { systemErrorCode } from './errors.js';

/** Whether a process with this id runs on this machine, for any user. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemErrorCode(error) === 'EPERM'; // it runs as another user
  }
}

export interface RunResult {
  /** Exit code; null if a signal ended the program. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Aborting it ends the program; `run` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Characters kept of each output stream. */
const keptCharacters = 1 << 20;

/**
 * Runs `command` and resolves when it ends, with any exit code.
 *
 * @throws the system error when it cannot be started (ENOENT), or `signal.reason`.
 */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      windowsHide: true,
    });
    const stop = () => child.kill('SIGTERM');
    signal?.addEventListener('abort', stop, { once: true });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout = (stdout + text).slice(-keptCharacters);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-keptCharacters);
    });
    child.on('error', (error) => {
      signal?.removeEventListener('abort', stop);
      reject(error);
    });
    child.on('close', (code, exitSignal) => {
      signal?.removeEventListener('abort', stop);
      if (signal?.aborted) reject(signal.reason);
      else resolve({ code, signal: exitSignal, stdout, stderr });
    });
  });
}

/** Full path of the first program `name` on the PATH, or undefined. A name with a separator is used as a path. */
export function findProgram(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  // `which` treats an empty entry as the working directory, from which no program is run.
  const path = (env.PATH ?? '').split(delimiter).filter(Boolean).join(delimiter);
  return (
    which.sync(name, { nothrow: true, path, ...(env.PATHEXT !== undefined && { pathExt: env.PATHEXT }) }) ?? undefined
  );
}
