/**
 * @file Which runs of a list are shown, and in which order: `after > 80% and state = finished`, sorted by a column or an option.
 */
import { closestMatch } from 'leven';
import { keyOf, optionNames } from '../../options/table.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { keysOf } from '../../util/keys.js';
import type { RunEntry } from './list.js';

type Cell = string | number | boolean | null;

const columns = {
  run: ({ folder }) => folder,
  name: ({ name }) => name,
  note: ({ note }) => note,
  started: ({ started }) => started,
  model: ({ model }) => model,
  task: ({ task }) => task,
  algo: ({ algo }) => algo,
  before: ({ before }) => before,
  after: ({ after }) => after,
  gain: ({ before, after }) => (before === null || after === null ? null : after - before),
  updates: ({ updates }) => updates,
  state: ({ state }) => state,
} as const satisfies Record<string, (entry: RunEntry) => Cell>;

const columnNames = keysOf(columns);

/** The value of a column, or of an option by its flag, for a run. @throws UserError (wrong usage) for any other name. */
function columnOf(name: string, source: string): (entry: RunEntry) => Cell {
  const column = columnNames.find((each) => each === name);
  if (column !== undefined) return columns[column];
  const option = optionNames.find((each) => each === name || keyOf(each) === name);
  if (option !== undefined) return ({ options: values }) => cellOf(values?.[option]);
  const meant = closestMatch(name, [...columnNames, ...optionNames.map(keyOf)], { maxDistance: 3 });
  throw usage(
    `${source}: no column '${name}'${meant === undefined ? '.' : `; did you mean ${meant}?`} Columns: ${columnNames.join(', ')}, and every option of a run, such as lr.`,
  );
}

function cellOf(value: unknown): Cell {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : null;
}

/**
 * Sorts by `COLUMN`, `COLUMN:asc` or `COLUMN:desc`; runs without a value come last. By default numbers and times are descending.
 *
 * @throws UserError (wrong usage)
 */
export function sortRuns(runs: readonly RunEntry[], by: string): RunEntry[] {
  const [, name = '', order] = /^\s*([\w-]+?)(?::(asc|desc))?\s*$/.exec(by) ?? [];
  if (name === '') throw usage(`--sort: expected COLUMN, COLUMN:asc or COLUMN:desc, found '${by}'`);
  const value = columnOf(name, '--sort');
  const isNumeric = runs.some((entry) => typeof value(entry) === 'number');
  const isDescending = order === undefined ? isNumeric || name === 'started' : order === 'desc';
  return [...runs].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return Number(x === null) - Number(y === null);
    return (isDescending ? -1 : 1) * compare(x, y);
  });
}

function compare(a: NonNullable<Cell>, b: NonNullable<Cell>): number {
  return typeof a === 'number' && typeof b === 'number'
    ? a - b
    : String(a).localeCompare(String(b), 'en', { numeric: true });
}

type Test = (entry: RunEntry) => boolean;

/** Runs that fit all conditions, which are joined by `and`. @throws UserError (wrong usage) */
export function filterRuns(runs: readonly RunEntry[], condition: string): RunEntry[] {
  const tests = condition.split(/\s+and\s+/i).map(testOf);
  return runs.filter((entry) => tests.every((test) => test(entry)));
}

function testOf(text: string): Test {
  const [, name, operator, given] = /^\s*([\w-]+)\s*(<=|>=|!=|==?|<|>|~)\s*([^<>=!~\s].*?)\s*$/.exec(text) ?? [];
  if (name === undefined || operator === undefined || given === undefined) {
    throw usage(`--filter: expected COLUMN = VALUE, or != < <= > >= ~, joined by and; found '${text}'`);
  }
  const value = columnOf(name, '--filter');
  const wanted = given.replace(/^(["'])(.*)\1$/, '$2');
  const number = numberOf(wanted);
  return (entry) => {
    const found = value(entry);
    // A run without the value matches only "is not".
    if (found === null) return operator === '!=';
    if (operator === '~') return String(found).toLowerCase().includes(wanted.toLowerCase());
    const order =
      typeof found === 'number' && number !== undefined ? found - number : compareTexts(String(found), wanted);
    switch (operator) {
      case '<':
        return order < 0;
      case '<=':
        return order <= 0;
      case '>':
        return order > 0;
      case '>=':
        return order >= 0;
      case '!=':
        return order !== 0;
      default:
        return order === 0;
    }
  };
}

/** Compares code units, which sorts ISO 8601 times. */
function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** `0.8` or `80%`. */
function numberOf(text: string): number | undefined {
  const [, digits, percent] = /^(.+?)\s*(%)?$/.exec(text) ?? [];
  const number = Number(digits);
  if (digits === undefined || Number.isNaN(number)) return undefined;
  return percent === undefined ? number : number / 100;
}

function usage(problem: string): UserError {
  return new UserError(problem, { exitCode: exitCodes.usage });
}
