/**
 * @file Runs one side of a comparison in its own process and measures its time from start to end, and the processor time and
 * memory of its process tree. Returns the JSON of its last line. Reads /proc, so it needs Linux.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SideRun<Result> {
  /** From the start of the process to its end. */
  readonly seconds: number;
  /** User and system time of the process tree. */
  readonly cpuSeconds: number;
  /** Largest sum of PSS (memory, shared pages divided among those who share them) of the process tree, in 10^6 bytes. */
  readonly peakMegabytes: number;
  /** The same without file pages, most of which are libraries: the memory that the program itself allocates. */
  readonly anonMegabytes: number;
  /** Load of the machine (1 minute) at the start of the run, which shows whether anything else ran. */
  readonly load: number;
  readonly result: Result;
}

export interface SideOptions {
  /** `folder` is new and removed afterwards. */
  readonly env?: (folder: string) => NodeJS.ProcessEnv;
  /** Pins the run to this many cores, the first ones. Default: all. */
  readonly cores?: number;
}

/** Sampling a process slows it down slightly, so the interval grows with the time that sampling takes. */
const lookEveryMs = 100;
const lookShare = 0.02;

/**
 * Runs `command` with the path of a JSON file as its last argument. The file contains the result of `input`, which receives
 * a folder that does not exist yet.
 *
 * @throws Error with the end of what the process wrote to stderr when it fails.
 */
export async function runSide<Result>(
  command: readonly string[],
  input: (out: string) => object,
  options: SideOptions = {},
): Promise<SideRun<Result>> {
  const folder = mkdtempSync(join(tmpdir(), 'tinyzero-side-'));
  try {
    const path = join(folder, 'input.json');
    writeFileSync(path, JSON.stringify(input(join(folder, 'out'))));
    return await measured<Result>([...command, path], folder, options);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measured<Result>(
  command: readonly string[],
  folder: string,
  { env, cores }: SideOptions,
): Promise<SideRun<Result>> {
  const pinned = cores !== undefined && cores < cpus().length;
  const [program, ...args] = pinned ? ['taskset', '-c', `0-${cores - 1}`, ...command] : command;
  const load = Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]);
  const began = Date.now();
  const child = spawn(program as string, args, {
    env: { ...process.env, ...env?.(folder), BENCH_STARTED: String(began / 1000) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout = (stdout + text).slice(-100_000);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-5000);
  });
  const ticks = new Map<number, number>();
  let peak: Memory = { pss: 0, anon: 0 };
  let timer: NodeJS.Timeout;
  const look = () => {
    const start = performance.now();
    if (child.pid !== undefined) {
      const now = lookAt(processTree(child.pid), ticks);
      peak = { pss: Math.max(peak.pss, now.pss), anon: Math.max(peak.anon, now.anon) };
    }
    timer = setTimeout(look, Math.max(lookEveryMs, (performance.now() - start) / lookShare));
  };
  look();
  const [code, seconds] = await new Promise<[number | null, number]>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', () => clearTimeout(timer));
    child.on('close', (exitCode) => resolve([exitCode, (Date.now() - began) / 1000]));
  }).finally(() => clearTimeout(timer));
  if (code !== 0) throw new Error(`${command.join(' ')} failed (${child.signalCode ?? code}):\n${stderr}`);
  const cpuSeconds = [...ticks.values()].reduce((sum, value) => sum + value, 0) / ticksPerSecond;
  const result = JSON.parse(stdout.trim().split('\n').at(-1) as string) as Result;
  return { seconds, cpuSeconds, peakMegabytes: peak.pss / 1e6, anonMegabytes: peak.anon / 1e6, load, result };
}

/** Linux's USER_HZ, fixed for programs. */
const ticksPerSecond = 100;

/** A process and its running descendants. */
function processTree(pid: number): number[] {
  const children = listed(`/proc/${pid}/task`).flatMap((thread) =>
    text(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(processTree)];
}

interface Memory {
  /** Bytes. */
  readonly pss: number;
  readonly anon: number;
}

/** Records each process's time so far in `ticks` and returns the sums of their memory. */
function lookAt(pids: readonly number[], ticks: Map<number, number>): Memory {
  let pss = 0;
  let anon = 0;
  for (const pid of pids) {
    // After the program's name, which may contain spaces, utime and stime are the 12th and 13th fields.
    const fields = text(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ');
    if (fields?.[12] !== undefined) ticks.set(pid, Number(fields[11]) + Number(fields[12]));
    const rollup = text(`/proc/${pid}/smaps_rollup`);
    pss += 1024 * Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
    anon += 1024 * Number(/^Pss_Anon:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
  }
  return { pss, anon };
}

/** Undefined if the process ended in the meantime. */
function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function listed(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
