/**
 * @file `train`, `sft`, `estimate-vstar` and `eval` with `--on modal`: print the plan, or run it and show the results as the
 * command does on this machine.
 */
import { existsSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { OptionName, OptionValues } from '../../options/table.js';
import { runFiles } from '../../run/folder.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { programName } from '../program-name.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import type { Paint } from '../terminal/paint.js';
import { consoleReporter } from '../terminal/progress.js';
import { describePlan, planJob, planOf, type RemoteValues } from './job.js';
import type { RemoteCommand } from './layout.js';
import { runJob } from './run.js';

type Values = RemoteValues & Partial<OptionValues> & Pick<OptionValues, 'json' | 'quiet'>;

/**
 * @param describe the result as the command shows it here. @returns the exit code. @throws UserError
 *
 * `Result` is what the same command prints with --json; paths are those of this machine.
 */
export async function onModal<Result extends object>(
  command: RemoteCommand,
  values: Values,
  given: ReadonlySet<OptionName>,
  describe: (result: Result, paint: Paint, width: number | undefined) => readonly string[],
): Promise<number> {
  const { json, quiet, dryRun } = values;
  const job = planJob(command, values, given);
  if (dryRun) {
    printResult(json, planOf(job), () => describePlan(job));
    return exitCodes.ok;
  }
  const { output } = job;
  const isFile = command === 'estimate-vstar';
  if (isFile && existsSync(output)) {
    throw new UserError({ problem: `${output} already exists.`, fix: 'Choose another file with --out.' });
  }
  const staging = join(dirname(output), `.${job.name}`);
  const into = command === 'eval' ? undefined : isFile ? staging : output;
  const reporter = consoleReporter({ quiet, json });
  // The run's events are passed on unchanged; this machine adds only its own lines.
  const finished = await interruptible((signal) => runJob(job, { into, json }, reporter, signal));
  if (finished === undefined) {
    const program = programName();
    printResult(json, { run: job.name, detached: true }, () => [
      `${job.name} runs on Modal.`,
      `  ${program} modal logs ${job.name}   follows it`,
      `  ${program} modal get ${job.name}    fetches its files`,
      `  ${program} modal stop ${job.name}   saves and stops it`,
    ]);
    return exitCodes.ok;
  }
  if (isFile) {
    renameSync(join(staging, runFiles.vStar), output);
    rmSync(staging, { recursive: true, force: true });
  }
  if (finished.result === undefined) {
    throw new UserError({
      problem: `${job.name} succeeded, but its result did not arrive.`,
      fix: `Fetch it with \`tinyzero modal get ${job.name}\`.`,
    });
  }
  const run = { folder: output, report: join(output, runFiles.report) };
  const places = {
    train: run,
    sft: run,
    'estimate-vstar': { file: output },
    eval: {},
  };
  // The image has this version of the program, so its result has the same fields.
  const result = { ...finished.result, ...places[command] } as unknown as Result;
  printResult(json, result, (paint, width) => describe(result, paint, width));
  return exitCodes.ok;
}
