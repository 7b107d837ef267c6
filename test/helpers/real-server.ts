/** @file Programs that others maintain and that serve HTTP, for `npm run test:engines`: started on a free port, ended with the tests. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from '../../bench/ports.js';

export interface RealServer {
  readonly url: string;
  /** Ends it with everything that it started. */
  stop(): Promise<void>;
}

export interface ServerProgram {
  readonly command: string;
  readonly args: (port: number) => readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Answers with 200 once the server is ready. */
  readonly health: string;
  /** Longest time to start, generous: it may import and compile on a busy machine. */
  readonly startSeconds: number;
}

export async function startServer({ command, args, env, health, startSeconds }: ServerProgram): Promise<RealServer> {
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  // A group of its own: such servers start workers, which would outlive them.
  const child = spawn(command, args(port!), {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
    detached: true,
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const tell = (signal: NodeJS.Signals) => {
    try {
      process.kill(-child.pid!, signal);
    } catch {
      // nothing of it is left
    }
  };
  process.once('exit', () => tell('SIGKILL'));
  const stop = async () => {
    tell('SIGTERM');
    await Promise.race([ended, sleep(20_000, undefined, { ref: false })]);
    tell('SIGKILL');
    await ended;
  };
  try {
    const healthy = async () => (await fetch(`${url}${health}`).catch(() => undefined))?.ok === true;
    for (let seconds = 0; !(await healthy()); seconds += 1) {
      assert.ok(child.exitCode === null && child.signalCode === null, 'the server ended; see its output above');
      assert.ok(seconds < startSeconds, 'the server did not start');
      await sleep(1000);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
}
