/**
 * @file `tinyzero worker`: a process that computes for a run in another process, until Ctrl-C.
 */
import { availableParallelism } from 'node:os';
import { parseAddress } from '../../engine/cluster.js';
import type { OptionValues } from '../../options/table.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { formatBytes, formatSeconds } from '../../util/format.js';
import { interruptible } from '../terminal/interrupt.js';
import { consoleReporter } from '../terminal/progress.js';

type Values = OptionValues<'listen' | 'install' | 'json' | 'quiet'>;

export async function run({ listen, install, json, quiet }: Values): Promise<number> {
  parseAddress('--listen', listen); // before an engine is installed
  const reporter = consoleReporter({ quiet });
  const print = (record: object, line: string) =>
    process.stdout.write(json ? `${JSON.stringify(record)}\n` : `${line}\n`);
  await interruptible(async (signal) => {
    const { openRequestedEngine } = await import('../../model/open.js');
    const engine = await openRequestedEngine({ engine: 'tensorflow', install, precision: 'f32' }, reporter, signal);
    const address = await engine.serve!(listen);
    print(
      { event: 'listening', address, engine: engine.description },
      `Listening on ${address}: ${engine.description}.`,
    );
    if (!address.startsWith('127.')) {
      reporter.line(
        `Anyone who can connect to ${address} can run any computation here as this user. Use it only in a private network.`,
      );
    }
    reporter.line('Press Ctrl-C to stop.');
    await untilStopped(signal);
  }).catch((error) => {
    if (!(error instanceof UserError && error.exitCode === exitCodes.interrupted)) throw error; // Ctrl-C is the normal end
  });
  const { user, system } = process.cpuUsage();
  const seconds = (user + system) / 1e6;
  const peakMemory = 1024 * process.resourceUsage().maxRSS;
  print(
    { event: 'result', processorSeconds: seconds, peakMemory },
    `Used ${formatSeconds(seconds)} of processor time on ${availableParallelism()} cores, and at most ${formatBytes(peakMemory)} of memory.`,
  );
  // TensorFlow's server cannot be stopped.
  process.exit(exitCodes.ok);
}

/** Rejects when the signal is aborted. Keeps the process alive until then. */
function untilStopped(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const alive = setInterval(() => {}, 2 ** 30);
    signal.addEventListener('abort', () => {
      clearInterval(alive);
      reject(signal.reason);
    });
  });
}
