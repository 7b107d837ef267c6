/** @file A command line that is under way: wait for what it prints, and send it signals. */
import { spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { cliPath, merge, named } from '../cli.js';

export interface CliProcess {
  /** Resolves when stdout or stderr has the text. @throws if the process ends without it. */
  prints(text: string | RegExp): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>;
}

export function startCli(t: TestContext, args: readonly string[], env: Record<string, string | undefined>): CliProcess {
  const child = spawn(process.execPath, [cliPath, ...args], { env: merge(env), stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  const texts = { stdout: '', stderr: '' };
  const listeners = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
      for (const heard of listeners) heard();
    });
  }
  const ended = new Promise<Awaited<CliProcess['ended']>>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, stdout: named(texts.stdout), stderr: named(texts.stderr) });
      for (const heard of listeners) heard();
    });
  });
  const prints = (text: string | RegExp) =>
    new Promise<void>((resolve, reject) => {
      const heard = () => {
        const all = texts.stdout + texts.stderr;
        const has = typeof text === 'string' ? all.includes(text) : text.test(all);
        if (!has && child.exitCode === null) return;
        listeners.delete(heard);
        if (has) resolve();
        else reject(new Error(`ended with ${child.exitCode} without printing ${text}:\n${all}`));
      };
      listeners.add(heard);
      heard();
    });
  return { prints, kill: (signal) => child.kill(signal), ended };
}
