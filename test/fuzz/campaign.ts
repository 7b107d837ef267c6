/**
 * @file The fuzz campaign: every kind of file from outside is damaged `--count` times, by seed, and what tinyzero makes of
 * it must be success or a UserError of one paragraph: no stack, no hang over 5 s, no process above 1 GB.
 *
 *     npm run test:fuzz -- --count 2000 [--kinds tokenizer,index] [--first 0]
 *
 * Each kind runs in a process of its own, which is started again after the seed that stopped it.
 */
import { fork } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { kinds } from './kinds.js';
import { type Finding, limits, type Progress, seedFile, starvedMs } from './reports.js';

export interface Outcome {
  readonly kind: string;
  succeeded: number;
  refused: number;
  readonly findings: Finding[];
  /** The longest attempt, and the largest resident set of a process. */
  longestMs: number;
  peakBytes: number;
}

/** Runs seeds `first` to `first + count - 1` of one kind. */
export async function runKind(kind: string, first: number, count: number): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'tinyzero-fuzz-'));
  const outcome: Outcome = { kind, succeeded: 0, refused: 0, findings: [], longestMs: 0, peakBytes: 0 };
  const suspects = new Map<number, number>();
  const skipped = new Set<number>();
  try {
    for (let next = first; next < first + count; ) {
      next = await runProcess(outcome, folder, { start: next, end: first + count, suspects, skipped });
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return outcome;
}

interface Stretch {
  readonly start: number;
  /** The first seed that is not run. */
  readonly end: number;
  /** How often a process has hung at a seed. */
  readonly suspects: Map<number, number>;
  /** Seeds that have stopped a process for good. */
  readonly skipped: Set<number>;
}

/** One process, from seed `start` until `end` or until it stops; returns the next seed. */
function runProcess(outcome: Outcome, folder: string, { start, end, suspects, skipped }: Stretch): Promise<number> {
  const work = mkdtempSync(join(folder, 'work-'));
  const child = fork(
    fileURLToPath(new URL('./worker.js', import.meta.url)),
    [outcome.kind, work, `${start}`, `${end}`, [...skipped].join()],
    {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    },
  );
  return new Promise((resolve, reject) => {
    let seed = start - 1;
    let stderr = '';
    let timer: NodeJS.Timeout | undefined;
    // The process reports at least every half second unless an attempt takes longer. Starting it may take a while.
    const watch = (milliseconds: number = limits.hangMs + 1000) => {
      clearTimeout(timer);
      const starved = starvedMs(child.pid!);
      timer = setTimeout(() => {
        // Given as much time again as other processes took from it.
        const lost = starvedMs(child.pid!) - starved;
        if (lost > 100) watch(lost);
        else child.kill('SIGKILL');
      }, milliseconds);
    };
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-2000);
    });
    child.on('message', (message: Progress) => {
      seed = message.seed;
      outcome.succeeded += message.succeeded;
      outcome.refused += message.refused;
      outcome.findings.push(...message.findings);
      outcome.longestMs = Math.max(outcome.longestMs, message.longestMs);
      outcome.peakBytes = Math.max(outcome.peakBytes, message.peakBytes);
      watch();
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) return resolve(seed + 1);
      const noted = join(work, seedFile);
      if (code !== null && !existsSync(noted)) {
        return reject(new Error(`the process for ${outcome.kind} ended before its first attempt: ${stderr}`));
      }
      // A process that was killed before its first seed has left no file.
      const stopped = existsSync(noted) ? Number(readFileSync(noted, 'utf8')) : start;
      // What it has not reported yet is done again.
      const hangs = (suspects.get(stopped) ?? 0) + 1;
      suspects.set(stopped, hangs);
      if (signal === 'SIGKILL' && hangs < limits.tries) return resolve(seed + 1);
      skipped.add(stopped);
      const what = signal === 'SIGKILL' ? 'hang' : 'crash';
      outcome.findings.push({ seed: stopped, what, text: signal === 'SIGKILL' ? '' : `${code ?? signal}: ${stderr}` });
      resolve(seed + 1);
    });
    watch(60_000);
  });
}

function describeOutcome({ kind, succeeded, refused, findings, longestMs, peakBytes }: Outcome): string {
  const count = (what: Finding['what']) => findings.filter((finding) => finding.what === what).length;
  const bad = `${count('stack')} stacks, ${count('hang')} hangs, ${count('memory')} above 1 GB, ${count('crash')} crashes`;
  const most = `longest ${Math.round(longestMs)} ms, peak ${Math.round(peakBytes / 1e6)} MB`;
  return `${kind}: ${succeeded + refused} runs, ${succeeded} read, ${refused} refused, ${bad}; ${most}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '2000' },
      kinds: { type: 'string', default: Object.keys(kinds).join() },
      first: { type: 'string', default: '0' },
    },
  });
  let bad = 0;
  for (const kind of values.kinds.split(',')) {
    const outcome = await runKind(kind, Number(values.first), Number(values.count));
    console.log(describeOutcome(outcome));
    for (const { seed, what, text } of outcome.findings.slice(0, 20)) {
      console.log(`  ${what} at --kinds '${kind}' --first ${seed} --count 1\n${text}`);
    }
    bad += outcome.findings.length;
  }
  process.exitCode = bad === 0 ? 0 : 1;
}
