/** @file Reads the rows of a table of problems, a CSV or a Parquet file. Keeps only the wanted columns. */
import { CsvError, parse } from 'csv-parse/sync';
import { UserError } from '../util/errors.js';
import { readRegularFile } from '../util/file.js';
import type { JsonRecord } from '../util/json.js';
import { decodeText } from '../util/json.js';
import { tableColumn } from './column-map.js';
import { readParquet, tooManyRows } from './parquet.js';

export interface Table {
  /** The names of all columns. */
  readonly columns: readonly string[];
  /** Without columns that are not wanted. */
  readonly rows: readonly TableRow[];
}

interface TableRow {
  /** For errors: `row 3 (line 4)`. */
  readonly where: string;
  readonly record: JsonRecord;
}

/** More than any list of problems that is worth training on here. */
const maxRows = 1_000_000;

export function isTable(path: string): boolean {
  return /\.(csv|tsv|parquet)$/i.test(path);
}

/**
 * Reads a file for which {@link isTable} is true.
 *
 * @param name of the file, for errors. @param wanted columns, or fields of columns (`answers.text`).
 * @throws UserError that names the row, or says what the file lacks.
 */
export async function readTable(path: string, name: string, wanted: readonly string[]): Promise<Table> {
  const table = /\.parquet$/i.test(path)
    ? await parquetTable(path, name, wanted)
    : csvTable(decodeText(name, readRegularFile(path)), name, wanted, /\.tsv$/i.test(path));
  if (table.rows.length === 0) throw new UserError(`${name} has no rows.`);
  return table;
}

async function parquetTable(path: string, name: string, wanted: readonly string[]): Promise<Table> {
  const { columns, rows } = await readParquet(path, name, wanted, maxRows);
  return { columns, rows: rows.map((record, i) => ({ where: `row ${i + 1}`, record })) };
}

/** Longest row. */
const maxRowCharacters = 2 ** 22;

function csvTable(text: string, name: string, wanted: readonly string[], tabs: boolean): Table {
  let columns: string[] | undefined;
  let kept: (readonly [name: string, index: number])[] = [];
  const rows: TableRow[] = [];
  const onRecord = (fields: string[], { lines }: { readonly lines: number }): null => {
    // The parser counts up to the row's end.
    const line = lines - fields.join('').split('\n').length + 1;
    const where = `row ${rows.length + 1} (line ${line})`;
    if (columns === undefined) {
      columns = requireColumns(fields, name);
      const found = wanted.flatMap((column) => tableColumn(column, fields) ?? []);
      kept = [...new Set(found)].map((column) => [column, fields.indexOf(column)]);
      return null;
    }
    if (fields.length !== columns.length) {
      throw new UserError({
        problem: `${name} has a row with a different number of fields: ${where}.`,
        expected: `${columns.length} fields, as in the first line`,
        found: `${fields.length}`,
        fix: 'Put fields that contain a comma, a quote or a line break in double quotes.',
      });
    }
    if (rows.length === maxRows) throw tooManyRows(name, maxRows);
    rows.push({ where, record: Object.fromEntries(kept.map(([column, index]) => [column, fields[index]])) });
    return null;
  };
  try {
    parse(text, {
      bom: true,
      delimiter: tabs ? '\t' : delimiterOf(text),
      max_record_size: maxRowCharacters,
      on_record: onRecord,
      relax_column_count: true,
      skip_empty_lines: true,
    });
  } catch (error) {
    if (error instanceof CsvError) throw explained(error, name);
    throw error;
  }
  return { columns: requireColumns(columns ?? [], name), rows };
}

function requireColumns(fields: string[], name: string): string[] {
  const twice = fields.find((field, i) => fields.indexOf(field) !== i);
  const fault =
    fields.length === 0
      ? 'is empty'
      : twice !== undefined
        ? `names the column ${JSON.stringify(twice)} twice`
        : undefined;
  if (fault === undefined) return fields;
  throw new UserError({ problem: `${name} ${fault}.`, expected: 'a first line that names the columns' });
}

/** Comma, semicolon (in spreadsheets with decimal commas) or tab, whichever is most frequent in the first line. */
function delimiterOf(text: string): string {
  const first = text
    .slice(0, maxRowCharacters)
    .split('\n', 1)[0]!
    .replace(/"[^"]*"/g, '');
  const count = (delimiter: string) => first.split(delimiter).length;
  return [',', ';', '\t'].reduce((best, delimiter) => (count(delimiter) > count(best) ? delimiter : best));
}

function explained(error: CsvError, name: string): UserError {
  const reasons: Readonly<Record<string, string>> = {
    CSV_QUOTE_NOT_CLOSED: 'a quoted field is never closed',
    CSV_INVALID_CLOSING_QUOTE: 'a quoted field continues after its closing quote',
    INVALID_OPENING_QUOTE: 'a quote appears inside a field that does not begin with one',
    CSV_MAX_RECORD_SIZE: `a row has more than ${maxRowCharacters} characters`,
  };
  const line = Number(error.lines);
  return new UserError(
    {
      problem: `${name} is not CSV: ${reasons[error.code] ?? error.message}${line > 0 ? `, at line ${line}` : ''}.`,
      fix: 'Put a field that contains a comma, a quote or a line break in double quotes, and double each quote in it.',
    },
    { cause: error },
  );
}
