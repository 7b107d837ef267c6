/** @file `--seeds` of `train` and `sft`, and `--resume` of such a set. */
import { builtinModel } from '../../model/shipped.js';
import { parseSeeds } from '../../options/spec.js';
import type { OptionName, OptionValues } from '../../options/table.js';
import { newFolder } from '../../run/folder.js';
import { planSeeds, type RunPlan } from '../../run/many/plan.js';
import { exitCodes, UserError } from '../../util/errors.js';
import type { WatchRequest } from '../browser.js';
import { requireOwnOfSet } from '../resumed.js';
import { isSet, runSet } from './run-set.js';

type SeedsValues = OptionValues<
  | ('seeds' | 'parallel' | 'out' | 'resume' | 'dryRun' | 'engine' | 'install' | 'json' | 'quiet' | 'model' | 'name')
  | keyof WatchRequest
> & { readonly vStar?: string | undefined; readonly data?: string | undefined; readonly workers?: string | undefined };

/**
 * Runs the set that `--seeds` or `--resume` names.
 *
 * @returns the exit code; undefined if neither names a set, so that the command is about one run.
 */
export async function runSeeds(
  command: RunPlan['command'],
  values: SeedsValues,
  given: ReadonlySet<OptionName>,
): Promise<number | undefined> {
  const { seeds, parallel, out, resume, dryRun, engine, install, json, quiet, model, name } = values;
  const { watch, port, open } = values;
  const common = { parallel, engine, install, json, quiet, dryRun, page: { watch, port, open } };
  if (values.workers !== undefined && (isSet(resume) || seeds !== undefined)) {
    throw new UserError(
      {
        problem: '--workers: a worker computes for one run at a time.',
        fix: 'Start one run for each seed, with --seed.',
      },
      { exitCode: exitCodes.usage },
    );
  }
  if (isSet(resume)) {
    requireOwnOfSet(resume, values, given);
    return await runSet({ folder: resume, ...common });
  }
  if (seeds === undefined && given.has('parallel')) {
    throw new UserError(
      {
        problem: '--parallel: there is only one run.',
        fix: 'Add --seeds, such as --seeds 1..5, for runs that can go side by side; leave --parallel out for a single run.',
      },
      { exitCode: exitCodes.usage },
    );
  }
  if (seeds === undefined) return undefined;
  const problems: string[] = [];
  const parsed = parseSeeds(seeds);
  if (typeof parsed === 'string') problems.push(`--seeds: ${parsed}`);
  if (resume !== undefined) problems.push(`--seeds: ${resume} is a single run; --resume continues it alone`);
  if (given.has('seed')) problems.push('--seed: --seeds gives the seed of each run; use only one of the two');
  if (values.vStar !== undefined)
    problems.push('--v-star: the file has the samples of one seed; with --seeds, each run draws its own');
  if (values.data === '-') problems.push('--data: several runs cannot read standard input; give a file');
  if (typeof parsed === 'string' || problems.length > 0) {
    throw new UserError(problems.join('\n'), { exitCode: exitCodes.usage });
  }
  const what = name ?? `${command === 'sft' ? 'sft-' : ''}${(model ?? builtinModel).split('/').at(-1)}-seeds`;
  return await runSet({ folder: out ?? newFolder(what), plan: planSeeds(command, values, parsed), ...common });
}
