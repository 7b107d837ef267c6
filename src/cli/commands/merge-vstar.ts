/** @file `tinyzero merge-vstar`: one V* file from the parts of several machines. */
import type { OptionValues } from '../../options/table.js';
import { runFiles } from '../../run/folder.js';
import { mergeVStarFiles, readVStarFile, writeVStarFile } from '../../stage1/v-star-file.js';
import { exitCodes } from '../../util/errors.js';
import { printResult } from '../terminal/output.js';

export async function run(
  { out = runFiles.vStar, partial, json }: OptionValues<'out' | 'partial' | 'json'>,
  files: readonly string[],
): Promise<number> {
  const merged = mergeVStarFiles(
    files.map((path) => ({ path, file: readVStarFile(path) })),
    { partial },
  );
  writeVStarFile(out, merged);
  const problems = merged.entries.size;
  printResult(json, { file: out, problems, samples: merged.samples }, () => [
    `${problems} problems from ${files.length} files, written to ${out}.`,
  ]);
  return exitCodes.ok;
}
