/** @file `tinyzero sweep`: tries the settings that a file lists, and ranks them. */
import { parse } from 'node:path';
import type { CommonOptionName } from '../../options/names.js';
import type { OptionName, OptionValues } from '../../options/table.js';
import { newFolder } from '../../run/folder.js';
import { readSweep } from '../../run/many/sweep-file.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { requireWatch } from '../browser.js';
import { isSet, runSet } from '../many/run-set.js';
import { requireOwnOfSet } from '../resumed.js';

type Values = OptionValues<
  | ('out' | 'resume' | 'parallel' | 'dryRun' | 'watch' | 'port' | 'open' | 'engine' | 'install' | 'json')
  | CommonOptionName
>;

export async function run(values: Values, [file]: readonly string[], flags: ReadonlySet<OptionName>): Promise<number> {
  const { out, resume, watch, port, open, color: _, ...rest } = values;
  const page = { watch, port, open };
  requireWatch(page, flags);
  const common = { ...rest, page };
  if (resume !== undefined) {
    if (file !== undefined) throw usage('--resume: the sweep in the folder has its own settings; leave the file out');
    if (!isSet(resume)) throw usage(`--resume: ${resume} holds no sweep`);
    requireOwnOfSet(resume, values, flags);
    return await runSet({ folder: resume, ...common });
  }
  if (file === undefined) throw usage("'sweep' needs a file of options, or --resume with the folder of a sweep");
  return await runSet({ folder: out ?? newFolder(parse(file).name), plan: readSweep(file), ...common });
}

function usage(problem: string): UserError {
  return new UserError(problem, { exitCode: exitCodes.usage });
}
