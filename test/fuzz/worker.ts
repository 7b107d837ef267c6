/** @file One process of the fuzz campaign: attempts of one kind by seed, each judged, reported to the parent. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../src/util/errors.js';
import { uniform } from '../helpers/fuzz.js';
import { kinds } from './kinds.js';
import { limits, type Progress, seedFile, starvedMs } from './reports.js';

const [kind, folder, start, end, skipped = ''] = process.argv.slice(2) as [string, string, string, string, string?];
const skips = new Set(skipped === '' ? [] : skipped.split(',').map(Number));
const attempt = await kinds[kind]!(folder);
const empty = (seed: number): Progress => {
  return { seed, succeeded: 0, refused: 0, findings: [], longestMs: 0, peakBytes: 0 };
};
let progress = empty(Number(start) - 1);
let told = Number.NEGATIVE_INFINITY; // the first attempt is reported at once: the parent waits longer before it
let peakBefore = 0;
for (let seed = Number(start); seed < Number(end); seed += 1) {
  if (skips.has(seed)) continue;
  // Read by the parent when this process does not come back from the attempt.
  writeFileSync(join(folder, seedFile), `${seed}`);
  const began = ownTime();
  try {
    await attempt(uniform(seed));
    progress.succeeded += 1;
  } catch (error) {
    progress.refused += 1;
    const complaint = complaintAbout(error);
    if (complaint !== undefined) progress.findings.push({ seed, what: 'stack', text: complaint });
  }
  const took = ownTime() - began;
  progress.seed = seed;
  progress.longestMs = Math.max(progress.longestMs, took);
  if (took > limits.hangMs && (await takesLong(seed)))
    progress.findings.push({ seed, what: 'hang', text: `${took} ms` });
  progress.peakBytes = process.resourceUsage().maxRSS * 1024;
  const tooLarge = progress.peakBytes > limits.bytes && peakBefore <= limits.bytes;
  if (tooLarge) progress.findings.push({ seed, what: 'memory', text: `${progress.peakBytes} bytes` });
  peakBefore = progress.peakBytes;
  if (tooLarge) break; // the peak cannot be measured again in this process
  if (performance.now() - told > 500 || seed % 100 === 99) {
    told = performance.now();
    await report();
  }
}
if (peakBefore <= limits.bytes) progress.seed = Number(end) - 1; // also where the last seeds are skipped
await report();
process.exit(0);

async function report(): Promise<void> {
  await new Promise<void>((done) => process.send!(progress, () => done()));
  progress = empty(progress.seed);
}

/** Whether `seed` takes too long once more: the first time the machine may have stood still. */
async function takesLong(seed: number): Promise<boolean> {
  const began = ownTime();
  try {
    await attempt(uniform(seed));
  } catch {
    // What it ends in has been judged.
  }
  return ownTime() - began > limits.hangMs;
}

/** Milliseconds, less those in which other processes had the processors. */
function ownTime(): number {
  return performance.now() - starvedMs(process.pid);
}

/** Why an error is not one that a user should see; undefined for a good one. */
function complaintAbout(error: unknown): string | undefined {
  if (!(error instanceof UserError)) return error instanceof Error ? (error.stack ?? error.message) : String(error);
  const { message } = error;
  if (message.length > 5000) return `a message of ${message.length} characters`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  if (/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/.test(message))
    return `control characters in ${JSON.stringify(message)}`;
  if (/\n\s+at .*:\d+:\d+/.test(message)) return message;
  return undefined;
}
