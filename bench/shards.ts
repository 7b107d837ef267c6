/**
 * @file Stage 1 of over 10,000 multiplications with the built-in model: by one process, and by eight local shards, one of
 * which is killed midway and restarted. The merged file must have the same bytes as the undivided one; exit code 1 if not.
 *
 *     npm run bench:shards                        # 160,000 completions, about 3 minutes on 2 quiet cores
 *     npm run bench:shards -- --lines 100 --samples 2 --shards 4
 *
 * Prints processor time, peak memory and size of the files; the last line is JSON.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { readVStarFile } from '../src/stage1/v-star-file.js';
import { cli, type ProgramRun, runProgram } from './measure.js';

const { values } = parseArgs({
  options: {
    // A fifth of them are held out.
    lines: { type: 'string', default: '12600' },
    shards: { type: 'string', default: '8' },
    samples: { type: 'string', default: '8' },
  },
});
const [lines, shards] = [Number(values.lines), Number(values.shards)];
const folder = mkdtempSync(join(tmpdir(), 'tinyzero-shards-'));
try {
  const list = join(folder, 'problems.jsonl');
  writeFileSync(list, Array.from({ length: lines }, (_, i) => line(2 + (i % 113), 2 + Math.floor(i / 113))).join(''));
  const estimate = (out: string, ...shard: string[]) => [
    ...['estimate-vstar', '--problems', list, '--num-train', values.lines, '--num-samples', values.samples, '--quiet'],
    ...['--no-install', '--out', join(folder, out), ...shard],
  ];
  const whole = await run(estimate('whole.json'));
  const began = performance.now();
  const parts = Array.from({ length: shards }, (_, i) => `part-${i + 1}.json`);
  await Promise.all(
    parts.map(async (part, i) => {
      const args = estimate(part, '--shard', `${i + 1}/${shards}`);
      if (i === 0) await killOnceSaved(args, join(folder, part));
      await run(args);
    }),
  );
  const shardSeconds = (performance.now() - began) / 1000;
  const merge = await run([
    'merge-vstar',
    ...parts.map((part) => join(folder, part)),
    '--out',
    join(folder, 'all.json'),
  ]);
  const bytes = (name: string) => readFileSync(join(folder, name));
  const { entries } = readVStarFile(join(folder, 'all.json'));
  const problems = entries.size;
  const same = bytes('all.json').equals(bytes('whole.json'));
  console.error(same ? 'The merged file has the bytes of the one that was never divided.' : 'The merged file DIFFERS.');
  process.exitCode = same ? 0 : 1;
  console.log(
    JSON.stringify({
      ...{
        processor: cpus()[0]?.model,
        threads: availableParallelism(),
        problems,
        shards,
        same,
        whole,
        shardSeconds,
        merge,
      },
      ...{ completions: problems * Number(values.samples), fileBytes: statSync(join(folder, 'all.json')).size },
    }),
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function line(a: number, b: number): string {
  return `${JSON.stringify({ prompt: `What is ${a} × ${b}?\n`, answer: `${a * b}` })}\n`;
}

type Figures = Omit<ProgramRun, 'code'>;

/** Runs the command to its end. @throws Error when it fails. */
async function run(args: readonly string[]): Promise<Figures> {
  const { code, ...figures } = await runProgram(args);
  if (code !== 0) throw new Error(`tinyzero ${args.join(' ')} failed (${code})`);
  return figures;
}

/** Starts the command and kills it as soon as it has saved something. */
async function killOnceSaved(args: readonly string[], file: string): Promise<void> {
  const child = spawn(process.execPath, [cli, ...args], { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.on('close', resolve));
  while (!existsSync(file) && child.exitCode === null) await delay(20);
  child.kill('SIGKILL');
  await ended;
}
