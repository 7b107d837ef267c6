/**
 * @file Flips one bit in a file of a run and resumes it: the run must name the file and end with the bytes of an undamaged one, or
 * be rejected with the file's name.
 */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { train } from '../../src/index.js';
import { UserError } from '../../src/util/errors.js';
import { silentReporter } from '../../src/util/reporter.js';
import { flipBit } from './fuzz.js';
import { runBytes } from './runs.js';

/** Files that no result depends on, or that are derived from others. */
const without = ['timings.jsonl', 'report.html', 'run.lock'];

/** The files of a run in which damage matters, as paths below its folder, ascending. */
export function filesOf(run: string): string[] {
  return readdirSync(run, { recursive: true, encoding: 'utf8' })
    .filter(
      (name) => statSync(join(run, name)).isFile() && !without.includes(name) && statSync(join(run, name)).size > 0,
    )
    .sort();
}

export type Recovery = 'repaired' | 'refused';

/**
 * Flips one bit of `file` in a copy of `run`, resumes it and compares it with `whole`, a run that was never damaged.
 *
 * @throws AssertionError when the damage is not noticed, or the run ends differently.
 */
export async function resumeDamaged(
  run: string,
  file: string,
  whole: string,
  copy: string,
  random: () => number,
): Promise<Recovery> {
  rmSync(copy, { recursive: true, force: true });
  cpSync(run, copy, { recursive: true, preserveTimestamps: true });
  const path = join(copy, file);
  writeFileSync(path, flipBit(readFileSync(path), random));
  const lines: string[] = [];
  const reporter = { ...silentReporter, line: (text: string) => void lines.push(text) };
  const names = (text: string) => text.includes(basename(file)) && /damaged|is not|checksum/.test(text);
  try {
    await train({ folder: copy, resume: true, engine: 'auto', install: false, reporter });
  } catch (error) {
    assert.ok(error instanceof UserError, `${file}: ${error instanceof Error ? error.stack : error}`);
    assert.ok(names(error.message), `${file}: ${error.message}`);
    assert.equal(file, 'config.json', error.message);
    return 'refused';
  }
  assert.ok(lines.some(names), `${file}: not noticed among ${lines.join('\n')}`);
  const found = Object.entries(runBytes(copy)).filter(([path]) => !path.startsWith('checkpoints/damaged-'));
  // A damaged checkpoint that is not the newest is renamed and not replaced.
  const [, checkpoint] = /^(checkpoints\/step-\d+\/)/.exec(file) ?? [];
  const isGone = (name: string) =>
    checkpoint !== undefined && name.startsWith(checkpoint) && !existsSync(join(copy, name));
  const expected = Object.entries(runBytes(whole)).filter(([name]) => !isGone(name));
  assert.deepEqual(Object.fromEntries(found), Object.fromEntries(expected), `${file}: ${lines.join('\n')}`);
  return 'repaired';
}
