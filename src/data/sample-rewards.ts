/**
 * @file Rewards of samples that another program drew and graded: a table of prompts with a column for each sample, `eval_0`,
 * `eval_1` and so on, the form of the data sets of the A*PO paper (Brantley et al., 2025, arXiv 2505.20686).
 */
import { UserError } from '../util/errors.js';
import { readRegularFile } from '../util/file.js';
import { decodeText, parseJsonLines, quote } from '../util/json.js';
import { tableColumn, valueAt } from './column-map.js';
import type { ProblemSource } from './problems-file.js';
import { isTable, readTable } from './table.js';

const columnOf = (sample: number) => `eval_${sample}`;
const example = '{"prompt": "What is 7 × 12?", "eval_0": 1, "eval_1": 0}';

/**
 * The rewards of the first `samples` samples of each prompt, from 0 to 1. If a prompt occurs twice, its first row counts.
 *
 * @throws UserError naming the row or column that cannot be used.
 */
export async function readSampleRewards(
  source: ProblemSource,
  samples: number,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const promptColumn = source.map.prompt ?? 'prompt';
  const columns = Array.from({ length: samples }, (_, i) => columnOf(i));
  const rewards = new Map<string, readonly number[]>();
  for (const { path, name, part } of source.files) {
    if (part === 'test') continue;
    if (isTable(path)) {
      const table = await readTable(path, name, [promptColumn, ...columns]);
      requireColumns(name, table.columns, promptColumn, columns);
      for (const { where, record } of table.rows) add(`${where} of ${name}`, record);
    } else {
      for (const { where, record } of parseJsonLines(name, decodeText(name, readRegularFile(path)), example)) {
        add(where, record);
      }
    }
  }
  return rewards;

  function add(where: string, record: Readonly<Record<string, unknown>>): void {
    const prompt = valueAt(record, promptColumn);
    if (typeof prompt !== 'string' || prompt === '') {
      throw invalid(where, promptColumn, 'a nonempty string', prompt);
    }
    if (rewards.has(prompt)) return;
    rewards.set(
      prompt,
      columns.map((column) => {
        const found = record[column];
        // 64-bit numbers are bigints, and all cells of CSV are text.
        const reward = found === null || found === undefined || found === '' ? Number.NaN : Number(found);
        if (!(reward >= 0 && reward <= 1)) throw invalid(where, column, 'a reward from 0 to 1', found);
        return reward;
      }),
    );
  }
}

function requireColumns(name: string, found: readonly string[], prompt: string, columns: readonly string[]): void {
  const missing = [prompt, ...columns].filter((column) => tableColumn(column, found) === undefined);
  if (missing.length === 0) return;
  const has = found.filter((column) => /^eval_\d+$/.test(column)).length;
  throw new UserError({
    problem: `${name} has no column ${quote(missing[0])}.`,
    expected: `the prompt in ${quote(prompt)}, and rewards in ${columns[0]} to ${columns.at(-1)}`,
    found: `the columns ${found.map((column) => quote(column)).join(', ')}`,
    fix:
      missing[0] === prompt
        ? 'Name the column of the prompt, such as --map prompt.0.content=prompt.'
        : `Use the samples that it has: --num-samples ${has}.`,
  });
}

function invalid(where: string, column: string, expected: string, found: unknown): UserError {
  return new UserError({
    problem: `${where} cannot be used: ${quote(column)} is invalid.`,
    expected,
    found: quote(found),
  });
}
