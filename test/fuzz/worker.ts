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
let told = performance.now();
let peakBefore = 0;
await report(); // the parent waits longer before the first report, since a process takes a while to start
for (let seed = Number(start); seed < Number(end); seed += 1) {
  if (skips.has(seed)) continue;
  // Read by the parent when this process does not come back from the attempt.
  writeFileSync(join(folder, seedFile), `${seed}`);
  const began = ownTime();
  let refusal: { error: unknown } | undefined;
  try {
    await attempt(uniform(seed));
  } catch (error) {
    refusal = { error };
  }
  const took = ownTime() - began;
  const hangs = took > limits.hangMs && (await takesLong(seed));
  progress.seed = seed;
  progress[refusal === undefined ? 'succeeded' : 'refused'] += 1;
  const complaint = refusal && complaintAbout(refusal.error);
  if (complaint !== undefined) progress.findings.push({ seed, what: 'stack', text: complaint });
  progress.longestMs = Math.max(progress.longestMs, took);
  if (hangs) progress.findings.push({ seed, what: 'hang', text: `${took} ms` });
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

/** Whether `seed` takes too long in all further tries. */
async function takesLong(seed: number): Promise<boolean> {
  for (let tries = 1; tries < limits.tries; tries += 1) {
    await report(); // the parent would take the silence for a hang
    const began = ownTime();
    try {
      await attempt(uniform(seed));
    } catch {
      // What it ends in has been judged.
    }
    if (ownTime() - began <= limits.hangMs) return false;
  }
  return true;
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
