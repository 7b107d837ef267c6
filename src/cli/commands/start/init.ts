/** @file `tinyzero init task` and `tinyzero init problems`: writes a commented file to start from. */
import { extname } from 'node:path';
import { usageError } from '../../../model/open.js';
import type { OptionValues } from '../../../options/table.js';
import { shellWord } from '../../../report/command.js';
import { exitCodes, systemErrorCode, UserError } from '../../../util/errors.js';
import { explainWrites, writeNewFile } from '../../../util/file.js';
import { programName } from '../../program-name.js';
import { starterProblems, starterTask } from '../../starters.js';
import { printResult } from '../../terminal/output.js';

type Values = OptionValues<'json'>;

export async function task(values: Values, [file = 'task.ts']: readonly string[]): Promise<number> {
  const form = formOf(file, ['.ts', '.mts', '.js', '.mjs']);
  return write(file, starterTask(form.endsWith('ts')), `train --task ${shellWord(file)}`, values);
}

export async function problems(values: Values, [file = 'problems.jsonl']: readonly string[]): Promise<number> {
  const form = formOf(file, ['.jsonl', '.csv']);
  return write(file, starterProblems(form), `train --problems ${shellWord(file)}`, values);
}

/** @throws UserError (wrong usage) for any other extension. */
function formOf<Form extends string>(file: string, forms: readonly Form[]): Form {
  const form = forms.find((each) => each === extname(file));
  if (form === undefined) throw usageError(`${file}: expected a file ending in ${forms.join(' or ')}.`);
  return form;
}

function write(file: string, content: string, next: string, { json }: Values): number {
  try {
    explainWrites(file, () => writeNewFile(file, content), 'Choose another name.');
  } catch (error) {
    if (!(error instanceof UserError) || systemErrorCode(error.cause) !== 'EEXIST') throw error;
    throw new UserError(
      { problem: `${file} exists and is not overwritten.`, fix: 'Choose another name, or remove it.' },
      { cause: error },
    );
  }
  printResult(json, { file, next: `tinyzero ${next}` }, () => [
    `Wrote ${file}. It runs as it is:`,
    `  ${programName()} ${next}`,
  ]);
  return exitCodes.ok;
}
