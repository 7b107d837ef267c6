/** @file A process of a sandbox, run on this machine, with everything that it prints kept for whoever reads it, and when. */
import { type ChildProcess, spawn } from 'node:child_process';

export interface KeptProcess {
  readonly child: ChildProcess;
  readonly stdout: KeptOutput;
  readonly stderr: KeptOutput;
  /** Exit code, or 128 and the number of the signal. */
  readonly ended: Promise<number>;
  /** Ends it and everything that it started. */
  kill(signal: NodeJS.Signals): void;
}

interface KeptOutput {
  /** Bytes from `offset` on, as they come, until the end. */
  read(offset: number, signal: AbortSignal): AsyncIterable<Buffer>;
}

export function startProcess(
  [program = '', ...args]: readonly string[],
  { cwd, env }: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): KeptProcess {
  // Its own group, so that a sandbox ends with all its processes.
  const child = spawn(program, args, { cwd, env, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  child.stdin.on('error', () => {});
  const ended = new Promise<number>((resolve) => {
    child.on('error', () => resolve(127));
    child.on('close', (code, signal) => resolve(code ?? 128 + (signal === 'SIGKILL' ? 9 : 15)));
  });
  const kill = (signal: NodeJS.Signals) => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, signal);
    } catch {
      // it has ended
    }
  };
  return { child, stdout: keep(child.stdout, ended), stderr: keep(child.stderr, ended), ended, kill };
}

function keep(stream: NodeJS.ReadableStream, ended: Promise<number>): KeptOutput {
  let bytes = Buffer.alloc(0);
  let isOver = false;
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const each of waiting) each();
    waiting.clear();
  };
  stream.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    wake();
  });
  void ended.then(() => {
    isOver = true;
    wake();
  });
  return {
    async *read(offset, signal) {
      let at = offset;
      signal.addEventListener('abort', wake);
      for (;;) {
        if (bytes.length > at) {
          // Not more than a message carries.
          const piece = bytes.subarray(at, at + (1 << 20));
          at += piece.length;
          yield piece;
        } else if (isOver || signal.aborted) return;
        else await new Promise<void>((resolve) => waiting.add(resolve));
      }
    },
  };
}
