/**
 * @file Reads columns of a Parquet file in a separate process (parquet-reader.ts), which is ended when a damaged or hostile
 * file makes it take too long or too much memory.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { UserError } from '../util/errors.js';
import { regularFileBytes } from '../util/file.js';
import { formatBytes } from '../util/format.js';
import type { JsonRecord } from '../util/json.js';

export interface Request {
  readonly path: string;
  readonly wanted: readonly string[];
  readonly maxRows: number;
  /** Size of the wanted columns after decompression. */
  readonly maxBytes: number;
}

export type Answer =
  | { readonly kind: 'ready' }
  | { readonly kind: 'rows'; readonly columns: readonly string[]; readonly rows: readonly JsonRecord[] }
  | { readonly kind: 'tooManyRows' }
  | { readonly kind: 'tooLarge'; readonly bytes: number }
  | { readonly kind: 'damaged'; readonly reason: string };

const maxBytes = 256 * 2 ** 20;
const maxFileBytes = 2 ** 30;

/** Time limit for starting the process; machines under load take seconds. */
const startMs = 60_000;
/** Time limit for reading: twenty times what a valid file takes. */
const readMs = (fileBytes: number) => 4000 + fileBytes / 2000;
/** Heap in MB: ten times the file, since text compresses well. */
const heapMb = (fileBytes: number) => Math.round(256 + Math.min(1500, (10 * fileBytes) / 2 ** 20));

/**
 * The rows of a Parquet file, with those of its columns that are wanted or have a wanted field (`answers.text`).
 *
 * @param name of the file, for errors.
 * @throws UserError when it cannot be read, is damaged or is too large.
 */
export async function readParquet(
  path: string,
  name: string,
  wanted: readonly string[],
  maxRows: number,
): Promise<{ readonly columns: readonly string[]; readonly rows: readonly JsonRecord[] }> {
  const size = regularFileBytes(path);
  if (size > maxFileBytes) throw tooLarge(name, size, maxFileBytes);
  const answer = await ask({ path, wanted, maxRows, maxBytes }, size);
  switch (answer.kind) {
    case 'rows':
      return answer;
    case 'tooManyRows':
      throw tooManyRows(name, maxRows);
    case 'tooLarge':
      throw tooLarge(`The text in the columns of ${name} that are read`, answer.bytes, maxBytes);
    default:
      throw new UserError({
        problem: `${name} cannot be read as Parquet: ${answer.reason}.`,
        fix: 'Check that it is complete, or save the problems as CSV or JSON lines.',
      });
  }
}

export function tooManyRows(name: string, maxRows: number): UserError {
  return new UserError({ problem: `${name} has too many rows.`, expected: `at most ${maxRows}` });
}

function tooLarge(what: string, found: number, most: number): UserError {
  return new UserError({
    problem: `${what} is too large.`,
    expected: `at most ${formatBytes(most)}`,
    found: formatBytes(found),
  });
}

function ask(request: Request, fileBytes: number): Promise<Exclude<Answer, { kind: 'ready' }>> {
  const child = fork(fileURLToPath(new URL('./parquet-reader.js', import.meta.url)), [], {
    serialization: 'advanced',
    execArgv: [`--max-old-space-size=${heapMb(fileBytes)}`],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    let late = false;
    const within = (milliseconds: number) => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        late = true;
        child.kill('SIGKILL');
      }, milliseconds);
    };
    child.on('message', (answer: Answer) => {
      if (answer.kind === 'ready') {
        within(readMs(fileBytes));
        child.send(request);
      } else {
        clearTimeout(timer);
        resolve(answer);
      }
    });
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timer);
      const reason = late ? 'reading it takes too long' : 'reading it takes too much memory';
      resolve({ kind: 'damaged', reason });
    });
    within(startMs);
  });
}
