/** @file Opens pages in the default browser. `--watch` shows a run or a set of runs there while this process works on it. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { flag, type OptionName } from '../options/table.js';
import { shellWord } from '../report/command.js';
import { exitCodes, UserError } from '../util/errors.js';
import type { Reporter } from '../util/reporter.js';
import { asInvoked } from './program-name.js';

/** The first message to the child process. Any second message ends it. */
export interface ToChild {
  readonly folder: string;
  readonly port: number;
  /** Shown by the page once the run is over. */
  readonly farewell: string;
}

export type FromChild = { readonly url: string } | { readonly error: string };

export interface WatchRequest {
  readonly watch: boolean;
  readonly port: number;
  readonly open: boolean;
}

/** @throws UserError (wrong usage) for options that need `--watch`, if it is absent. */
export function requireWatch({ watch }: WatchRequest, given: ReadonlySet<OptionName>): void {
  const useless = (['port', 'open'] as const).find((name) => given.has(name));
  if (watch || useless === undefined) return;
  throw new UserError(`${flag(useless)} needs --watch, whose page it configures.`, {
    exitCode: exitCodes.usage,
  });
}

/** Milliseconds after which a page that does not end is killed. */
const endMs = 60_000;

/**
 * Runs `work` and, if asked to, a page that shows the run in `folder`. The page receives the last state of the run, whether
 * `work` succeeds or fails, and then ends.
 *
 * @throws UserError when the page cannot be served.
 */
export async function watchedRun<T>(
  { watch, port, open }: WatchRequest,
  folder: string,
  reporter: Reporter,
  work: () => Promise<T>,
): Promise<T> {
  if (!watch) return await work();
  const child = fork(fileURLToPath(new URL('./watch-child.js', import.meta.url)), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit');
  const end = async () => {
    if (child.connected) child.send('end', () => {}); // it may have ended by itself
    const timer = setTimeout(() => child.kill('SIGKILL'), endMs);
    await exited;
    clearTimeout(timer);
  };
  try {
    const farewell = asInvoked(
      `The run has ended. \`tinyzero report ${shellWord(folder)} --open\` or \`tinyzero watch ${shellWord(folder)}\` shows it again.`,
    );
    child.send({ folder, port, farewell } satisfies ToChild);
    const url = await addressOf(child, exited);
    // Bypasses the reporter: --quiet must not hide the address, and the address must never be wrapped.
    process.stderr.write(`Watch it at ${url}\n`);
    if (open && !(await openInBrowser(url))) reporter.line('Cannot open a browser. Open the address yourself.');
    return await work();
  } finally {
    await end();
  }
}

async function addressOf(child: ReturnType<typeof fork>, exited: Promise<unknown>): Promise<string> {
  const answer = await Promise.race([once(child, 'message'), exited.then(() => undefined)]);
  const message: FromChild = answer?.[0] ?? { error: 'Cannot start the page of --watch.' };
  if ('error' in message) throw new UserError(message.error);
  return message.url;
}

/** Does not wait for the browser; returns false if there is none. */
export async function openInBrowser(target: string): Promise<boolean> {
  const { DISPLAY, WAYLAND_DISPLAY, WSL_DISTRO_NAME } = process.env;
  // Do not start a text browser, which would take over the terminal.
  if (process.platform === 'linux' && !(DISPLAY || WAYLAND_DISPLAY || WSL_DISTRO_NAME)) return false;
  try {
    const { default: open } = await import('open');
    await open(target);
    return true;
  } catch {
    return false; // for whatever reason; it can still be opened by hand
  }
}
