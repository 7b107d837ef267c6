/**
 * @file `--problems`: turns files of prompts and answers (JSON lines, CSV or Parquet) into a task. Every row is checked;
 * errors name the row, the column, what was expected and what was found. The answer of a completion is compared with the one
 * in the file; no user code runs.
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { parseAnswer, parseNaturalAnswer } from '../reward/answer.js';
import { UserError } from '../util/errors.js';
import { readRegularFile } from '../util/file.js';
import { decodeText, type JsonLine, type JsonRecord, parseJsonLines, quote } from '../util/json.js';
import { type ColumnMap, problemFields, tableColumn, valueAt } from './column-map.js';
import { isTable, readTable } from './table.js';
import { defineTask, type Task } from './task.js';

/** Where problems come from: a file, or the files of a dataset. */
export interface ProblemSource {
  /** Of the file or the dataset. */
  readonly name: string;
  readonly files: readonly {
    readonly path: string;
    /** For errors. */
    readonly name: string;
    /** The part that all rows belong to; undefined if each row states it. */
    readonly part: 'train' | 'test' | undefined;
  }[];
  readonly map: ColumnMap;
  /** A dataset was not made for tinyzero: its rows may repeat, and only the columns of prompt and answer are recognised by name. */
  readonly isDataset: boolean;
}

export interface LoadedProblems {
  readonly task: Task<FileProblem>;
  /** SHA-256 of the content, in hexadecimal. */
  readonly hash: string;
  /** For the user, in full sentences. */
  readonly notes: readonly string[];
}

/** One in this many clusters is used for testing if the file does not say. */
const testEvery = 5;

/** The source of a file on disk. */
export function fileSource(path: string, map: ColumnMap = {}): ProblemSource {
  return { name: basename(path), files: [{ path, name: path, part: undefined }], map, isDataset: false };
}

/** Loads problems. @throws UserError that names the invalid line, or says what the source lacks. */
export async function loadProblems(source: ProblemSource): Promise<LoadedProblems> {
  const { rows: lines, notes } = await readProblemRows(source);
  const { train, test } = split(source.files.length === 1 ? source.files[0]!.name : source.name, lines);
  const clusterOf = new Map(lines.map(({ problem, cluster }) => [problem.prompt, cluster]));
  const task = defineTask<FileProblem>({
    name: `problems of ${source.name}`,
    // Each problem once before any is repeated.
    problems: (random, n) => {
      const dealt: FileProblem[] = [];
      while (dealt.length < n) dealt.push(...random.shuffle(train).slice(0, n - dealt.length));
      return dealt;
    },
    heldOut: (random, n) => {
      const chosen = new Set(random.shuffle(test).slice(0, n));
      return test.filter((problem) => chosen.has(problem));
    },
    prompt: ({ prompt }) => prompt,
    cluster: ({ prompt }) => clusterOf.get(prompt)!,
    solution: ({ answer }) => `answer: ${answer}`,
    reward: (completion, { answer }, { finished }) => {
      const stated = statedAnswer(completion, answer);
      const exact = finished && stated === normalized(answer);
      return { reward: Number(exact), exact, parsed: stated !== undefined, parts: {} };
    },
  });
  return { task, hash: hashOfSource(source), notes };
}

/** For a single file without a map, the hash of its bytes. */
function hashOfSource({ files, map, isDataset }: ProblemSource): string {
  const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex');
  const hashes = files.map(({ path, part }) => [sha256(readRegularFile(path, maxHashedBytes)), part ?? null] as const);
  if (!isDataset && Object.keys(map).length === 0) return hashes[0]![0];
  return sha256(JSON.stringify([hashes, map]));
}

/** Largest file that is hashed. A file of a dataset may be larger than other files that are read whole. */
const maxHashedBytes = 2 ** 30;

const wholeNumber = /^-?\d+$/;

/** The answer of a completion, normalised for comparison; undefined if it has none. */
function statedAnswer(completion: string, answer: string): string | undefined {
  if (wholeNumber.test(answer)) {
    const { value } = parseNaturalAnswer(completion);
    return value === undefined ? undefined : String(value);
  }
  const last = [...completion.matchAll(/(?<![\p{L}\p{N}_])answer:[ \t]*(.*)/giu)].at(-1)?.[1];
  return last === undefined || normalized(last) === '' ? undefined : normalized(last);
}

/** Ignores case, spaces and a final full stop. */
function normalized(answer: string): string {
  return answer.normalize('NFKC').toLowerCase().replace(/\s+/g, ' ').trim().replace(/\.$/, '').trim();
}

/**
 * Splits the problems into training and test problems. If no line has a `split`, a hash of the cluster's name decides, so the
 * split does not depend on the seed, and adding lines does not move the others.
 */
function split(name: string, lines: readonly ProblemRow[]): { train: FileProblem[]; test: FileProblem[] } {
  const told = lines.some((line) => line.split === 'test');
  const isTest = (line: ProblemRow) => (told ? line.split === 'test' : hashOf(line.cluster) % testEvery === 0);
  const test = lines.filter((line) => isTest(line));
  const train = lines.filter((line) => !isTest(line));
  if (train.length === 0 || test.length === 0) {
    throw new UserError({
      problem: `${name} has too few problems.`,
      expected: 'at least one to train on and one to test on',
      found: `${train.length} and ${test.length} in ${lines.length} lines`,
      fix: told
        ? 'Remove "split": "test" from some of the lines.'
        : `Without "split": "test", a hash of the prompt holds out about one line in ${testEvery}: add lines, or mark some as "test".`,
    });
  }
  const trained = new Set(train.map(({ cluster }) => cluster));
  const both = test.find(({ cluster }) => trained.has(cluster));
  if (both !== undefined) {
    throw new UserError({
      problem: `${name} has problems of cluster ${quote(both.cluster)} both for training and for testing.`,
      found: `${quote(both.problem.prompt)} for testing`,
      fix: 'All problems of a cluster must have the same split.',
    });
  }
  return { train: train.map(({ problem }) => problem), test: test.map(({ problem }) => problem) };
}

function hashOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE();
}

/** A problem of a file. */
export interface FileProblem {
  readonly prompt: string;
  /** The answer as text; whole numbers in plain digits. */
  readonly answer: string;
}

type Field = (typeof problemFields)[number];

interface ProblemRow {
  readonly problem: FileProblem;
  readonly cluster: string;
  readonly split: 'train' | 'test' | undefined;
}

const example = '{"prompt": "What is 7 × 12?", "answer": 84}';

/** @throws UserError naming the first row that cannot be used. */
async function readProblemRows(
  source: ProblemSource,
): Promise<{ readonly rows: ProblemRow[]; readonly notes: string[] }> {
  const seen = new Map<string, { readonly row: ProblemRow; readonly where: string }>();
  const repeats = { same: 0, other: 0 };
  // Held-out problems come first, so a prompt in both parts stays in the test part.
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
  const differing = other > 0 ? `, ${other} of them with a different answer` : '';
  return [`${name}: ${same + other} rows repeat an earlier prompt and are left out${differing}.`];
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
          : `Name the columns with --map, such as --map ${suggestion(columns, missing)}.`,
    });
  }
  return rows.map(({ where, record }) => ({ where: `${where} of ${name}`, record }));
}

/** Suggests a map for the fields that no column is named after. */
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

/**
 * The column of a field: as mapped, otherwise the one of the same name. In a dataset, whose columns may mean anything, only
 * required fields are found by name.
 */
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
    // An empty cell has no value, and 64-bit numbers are bigints.
    if (found === null || (found === '' && !isRequired(field))) return undefined;
    return typeof found === 'bigint' ? (Number.isSafeInteger(Number(found)) ? Number(found) : String(found)) : found;
  };
  const bad = (field: Field, expected: string) => {
    const column = map[field] ?? field;
    const named = column === field ? `\`${field}\`` : `\`${column}\` (the ${field})`;
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
 * Reads `1,234` and `+84` in the same way as answers in completions. If a worked solution ends in a line `#### 84`, as in
 * GSM8K, the answer is what that line says.
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
