/** @file The options of `--on`, where the command runs here. */
import { remoteOptionNames } from '../../options/remote.js';
import { flag, type OptionName, type OptionValues } from '../../options/table.js';
import { exitCodes, UserError } from '../../util/errors.js';

/** @throws UserError for options that need `--on`. Without `--on`, there is nothing else to do. */
export function requireRemote(
  { on }: Pick<OptionValues, 'on'>,
  given: ReadonlySet<OptionName>,
  own?: OptionName,
): void {
  if (on !== undefined) return;
  const names = [...remoteOptionNames, ...(own === undefined ? [] : [own])].filter((name) => given.has(name));
  if (names.length === 0) return;
  throw new UserError(names.map((name) => `${flag(name)}: needs --on modal`).join('\n'), { exitCode: exitCodes.usage });
}
