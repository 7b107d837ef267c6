/** @file `--map`: which columns of a table, or fields of JSON lines, a problem is made of. */
import { isRecord, type JsonRecord } from '../util/json.js';

export const problemFields = ['prompt', 'answer', 'split', 'cluster'] as const;
type ProblemField = (typeof problemFields)[number];

/** Column by field. A field that is absent has the column of its own name, if there is one. */
export type ColumnMap = Readonly<Partial<Record<ProblemField, string>>>;

/**
 * Reads `question=prompt,answer=answer`: each column, an equals sign and the field that it becomes.
 *
 * @param problems receives what is wrong, as clauses for a list of invalid arguments.
 */
export function parseColumnMap(text: string | undefined, problems: string[]): ColumnMap {
  const map: Partial<Record<ProblemField, string>> = {};
  for (const part of text === undefined ? [] : text.split(',')) {
    const at = part.lastIndexOf('=');
    const column = part.slice(0, at).trim();
    const field = problemFields.find((name) => name === part.slice(at + 1).trim());
    if (at < 1 || column === '' || field === undefined) {
      problems.push(`--map: expected COLUMN=FIELD with a field of ${problemFields.join(', ')}, found '${part.trim()}'`);
    } else if (map[field] !== undefined) {
      problems.push(`--map: ${field} is given two columns, ${map[field]} and ${column}`);
    } else map[field] = column;
  }
  return map;
}

/** The value of a column; `answers.text` is a field of a column that holds objects, `prompt.0` the first item of a list. */
export function valueAt(record: JsonRecord, column: string): unknown {
  if (Object.hasOwn(record, column)) return record[column];
  let value: unknown = record;
  for (const part of column.split('.')) {
    if (Array.isArray(value)) value = /^\d+$/.test(part) ? value[Number(part)] : undefined;
    else if (isRecord(value) && Object.hasOwn(value, part)) value = value[part];
    else return undefined;
  }
  return value;
}

/** The column of the table that holds `column`: itself, or the object that it is a field of. */
export function tableColumn(column: string, columns: readonly string[]): string | undefined {
  if (columns.includes(column)) return column;
  const first = column.split('.')[0]!;
  return columns.includes(first) ? first : undefined;
}
