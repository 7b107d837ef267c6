/**
 * @file The process that reads a Parquet file for parquet.ts. The libraries trust the counts in a file, so a hostile one makes
 * them use all memory or never return: parquet.ts limits this process's memory and time. Sends one {@link Answer}.
 */
import {
  asyncBufferFromFile,
  type Compressors,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import type { Answer, Request } from './parquet.js';

/** Largest page after decompression; writers make them of about 1 MB. */
const maxPageBytes = 2 ** 27;

const bounded: Compressors = Object.fromEntries(
  Object.entries(compressors).map(([codec, decompress]) => [
    codec,
    (input: Uint8Array, outputLength: number) => {
      if (outputLength > maxPageBytes) throw new Error(`a page of ${outputLength} bytes`);
      return decompress!(input, outputLength);
    },
  ]),
);

async function read({ path, wanted, maxRows, maxBytes }: Request): Promise<Answer> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file, { geoparquet: false });
  const columns = parquetSchema(metadata).children.map(({ element }) => element.name);
  const kept = columns.filter((name) => wanted.some((column) => column === name || column.startsWith(`${name}.`)));
  if (metadata.num_rows > maxRows) return { kind: 'tooManyRows' };
  const sizes = metadata.row_groups.flatMap((group) =>
    group.columns.flatMap(({ meta_data }) =>
      meta_data !== undefined && kept.includes(meta_data.path_in_schema[0] ?? '')
        ? [Number(meta_data.total_uncompressed_size)]
        : [],
    ),
  );
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  if (bytes > maxBytes) return { kind: 'tooLarge', bytes };
  if (kept.length === 0) return { kind: 'rows', columns, rows: [] };
  const rows = await parquetReadObjects({ file, metadata, columns: kept, compressors: bounded, geoparquet: false });
  return { kind: 'rows', columns, rows };
}

// The parent handles Ctrl-C; if the parent is gone, nobody needs the answer.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(0));
process.once('message', async (request: Request) => {
  let answer: Answer;
  try {
    answer = await read(request);
  } catch (error) {
    answer = { kind: 'damaged', reason: error instanceof Error ? error.message : String(error) };
  }
  process.send!(answer, () => process.exit(0));
});
process.send!({ kind: 'ready' } satisfies Answer);
