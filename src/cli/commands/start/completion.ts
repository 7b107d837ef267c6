/** @file `tinyzero completion`: prints the completion script of a shell. */
import { usageError } from '../../../model/open.js';
import type { OptionValues } from '../../../options/table.js';
import { exitCodes } from '../../../util/errors.js';
import { completionScript } from '../../completion/script.js';
import { type CommandTable, shells } from '../../completion/words.js';
import { printEvent } from '../../terminal/output.js';

export async function printCompletion(
  table: CommandTable,
  { json }: OptionValues<'json'>,
  [given = '']: readonly string[],
): Promise<number> {
  const shell = shells.find((name) => name === given);
  if (shell === undefined) throw usageError(`completion: expected ${shells.join(' or ')}, found '${given}'.`);
  const script = completionScript(shell, table);
  if (json) printEvent({ event: 'result', shell, script });
  else process.stdout.write(script);
  return exitCodes.ok;
}
