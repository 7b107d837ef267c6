/**
 * @file The rows of `--problems`: JSON lines and rows of tables become checked problems. Errors name the row, the column, what
 * was expected and what was found.
 */
import { parseAnswer } from '../reward/answer.js';
import { UserError } from '../util/errors.js';
import { readRegularFile } from '../util/file.js';
import { type JsonRecord, quote } from '../util/json.js';
import { decodeText, type JsonLine, parseJsonLines } from '../util/json-lines.js';
import { type ColumnMap, problemFields, tableColumn, valueAt } from './column-map.js';
import type { ProblemSource } from './problems-file.js';
import { isTable, readTable } from './table.js';

/** A problem of a file. */
export interface FileProblem {
  readonly prompt: string;
  /** The answer as text; whole numbers in plain digits. */
  readonly answer: string;
}

type Field = (typeof problemFields)[number];

export interface ProblemRow {
  readonly problem: FileProblem;
  readonly cluster: string;
  readonly split: 'train' | 'test' | undefined;
}

const example = '{"prompt": "What is 7 × 12?", "answer": 84}';

/** @throws UserError naming the first row that cannot be used. */
export async function readProblemRows(
  source: ProblemSource,
): Promise<{ readonly rows: ProblemRow[]; readonly notes: string[] }> {
  const seen = new Map<string, { readonly row: ProblemRow; readonly where: string }>();
  const repeats = { same: 0, other: 0 };
  // Held-out problems first, so that of a prompt in both parts the one for testing stays.
  const files = [...source.files].sort((a, b) => Number(b.part === 'test') - Number(a.part === 'test'));
  for (const { path, name, part } of files) {
    const isTabular = isTable(path);
    const found = isTabular ? await tableRows(path, name, source) : jsonRows(path, name);
    for (const { where, record } of found) {
      const row = readRow(record, { where, map: source.map, isTabular, source });
      const placed = part === undefined ? row : { ...row, split: part };
      const { prompt, answer } = row.problem;
      const earlier = seen.get(prompt);
      if (earlier === undefined) seen.set(prompt, { row: placed, where: where });
      else if (!source.isDataset) {
        throw refused(where, `it repeats the prompt of ${earlier.where}, ${quote(prompt)}`, isTabular);
      } else if (earlier.row.problem.answer === answer) repeats.same++;
      else repeats.other++;
    }
  }
  return { rows: [...seen.values()].map(({ row }) => row), notes: notesOn(source.name, repeats) };
}

function notesOn(name: string, { same, other }: { readonly same: number; readonly other: number }): string[] {
  if (same + other === 0) return [];
  const differing = other > 0 ? `, ${other} of them with another answer` : '';
  return [`${name}: ${same + other} rows repeat the prompt of an earlier one and are left out${differing}.`];
}

function jsonRows(path: string, name: string): JsonLine[] {
  return parseJsonLines(name, decodeText(name, readRegularFile(path)), example);
}

async function tableRows(path: string, name: string, { map, isDataset }: ProblemSource): Promise<readonly JsonLine[]> {
  const wanted = problemFields.flatMap((field) => columnFor(field, map, isDataset) ?? []);
  const { columns, rows } = await readTable(path, name, wanted);
  const missing = [...new Set([...required.map((field) => map[field] ?? field), ...Object.values(map)])].filter(
    (column) => tableColumn(column, columns) === undefined,
  );
  if (missing.length > 0) {
    const field = required.find((name) => map[name] === undefined && missing.includes(name));
    throw new UserError({
      problem: `${name} has no column ${missing.map((column) => quote(column)).join(' and ')}.`,
      found: `the columns ${columns.map((column) => quote(column)).join(', ')}`,
      fix:
        field === undefined
          ? 'Correct --map.'
          : `Say which column is what, such as --map ${suggestion(columns, missing)}.`,
    });
  }
  return rows.map(({ where, record }) => ({ where: `${where} of ${name}`, record }));
}

/** A map for the fields that no column is named after. */
function suggestion(columns: readonly string[], missing: readonly string[]): string {
  const usual = {
    prompt: ['question', 'problem', 'input', 'instruction', 'text'],
    answer: ['solution', 'target', 'output'],
  };
  return required
    .filter((field) => missing.includes(field))
    .map((field) => `${usual[field].find((name) => columns.includes(name)) ?? 'COLUMN'}=${field}`)
    .join(',');
}

const required = ['prompt', 'answer'] as const;

function isRequired(field: Field): boolean {
  return required.some((name) => name === field);
}

/** The column of a field: as mapped, or of its own name, but of a dataset, whose columns may mean anything, only if required. */
function columnFor(field: Field, map: ColumnMap, isDataset: boolean): string | undefined {
  return map[field] ?? (isDataset && !isRequired(field) ? undefined : field);
}

interface RowContext {
  readonly where: string;
  readonly map: ColumnMap;
  readonly isTabular: boolean;
  readonly source: Pick<ProblemSource, 'isDataset'>;
}

function readRow(record: JsonRecord, { where, map, isTabular, source }: RowContext): ProblemRow {
  const value = (field: Field) => {
    const column = columnFor(field, map, source.isDataset);
    const found = column === undefined ? undefined : valueAt(record, column);
    if (!isTabular) return found;
    // An empty cell says nothing, and 64-bit numbers are bigints.
    if (found === null || (found === '' && !isRequired(field))) return undefined;
    return typeof found === 'bigint' ? (Number.isSafeInteger(Number(found)) ? Number(found) : String(found)) : found;
  };
  const bad = (field: Field, expected: string) => {
    const column = map[field] ?? field;
    const named = column === field ? `\`${field}\`` : `\`${column}\`, which is the ${field},`;
    return refused(where, `${named} must be ${expected}, not ${quote(value(field))}`, isTabular);
  };
  const [prompt, answer, split, cluster] = [value('prompt'), value('answer'), value('split'), value('cluster')];
  if (typeof prompt !== 'string' || prompt.trim() === '') throw bad('prompt', 'a nonempty string');
  const isText = typeof answer === 'string' && answer.trim() !== '';
  if (!isText && !Number.isSafeInteger(answer)) throw bad('answer', 'a string or a whole number');
  if (split !== undefined && split !== 'train' && split !== 'test') throw bad('split', '"train" or "test"');
  if (cluster !== undefined && (typeof cluster !== 'string' || cluster === ''))
    throw bad('cluster', 'a nonempty string');
  return { problem: { prompt, answer: plain(String(answer)) }, cluster: cluster ?? prompt, split };
}

/**
 * Reads `1,234` and `+84` in the same way as answers in completions. Of a worked solution that ends in a line `#### 84`, as GSM8K
 * has them, the answer is what that line says.
 */
function plain(answer: string): string {
  const stated = /(?:^|\n)####[ \t]*(\S[^\n]*)$/.exec(answer.trimEnd())?.[1] ?? answer;
  const { value } = parseAnswer(`answer: ${stated.trim()}`);
  return value === undefined ? stated.trim() : String(value);
}

function refused(where: string, reason: string, isTabular: boolean): UserError {
  const problem = `${where.charAt(0).toUpperCase()}${where.slice(1)} cannot be used: ${reason}.`;
  return new UserError({ problem, ...(!isTabular && { fix: `Example of a line: ${example}` }) });
}
