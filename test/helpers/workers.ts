/** @file Workers for tests: `tinyzero worker` in processes of their own, on loopback. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { cliPath, merge } from './cli.js';

export interface Worker {
  /** `127.0.0.1:port`. */
  readonly address: string;
  readonly process: ChildProcess;
}

/** Starts workers on free ports, which end with the test. */
export async function startWorkers(t: Pick<TestContext, 'after'>, count: number): Promise<Worker[]> {
  return await Promise.all(Array.from({ length: count }, () => startWorker(t)));
}

function startWorker(t: Pick<TestContext, 'after'>): Promise<Worker> {
  const child = spawn(process.execPath, [cliPath, 'worker', '--listen', '127.0.0.1:0', '--json'], {
    env: merge({}),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => void child.kill('SIGKILL'));
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (stdout.includes('\n')) resolve({ address: JSON.parse(stdout.split('\n')[0]!).address, process: child });
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('exit', (code) => reject(new Error(`the worker ended with ${code}: ${stderr}`)));
  });
}
