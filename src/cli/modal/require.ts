/** @file Refuses options of `--on` when the command runs on this machine. */
import { remoteOptionNames } from '../../options/machines.js';
import { flag, type OptionName, type OptionValues } from '../../options/table.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { makesRun, type RemoteCommand } from './layout.js';

/**
 * @throws UserError for options that need `--on modal`, and for `--on tinker` without a server. Unless the command runs on
 * Modal, nothing else needs to be done.
 */
export function requireRemote(
  command: RemoteCommand,
  { on, tinkerUrl, resume }: Pick<OptionValues, 'on'> & Partial<Pick<OptionValues, 'tinkerUrl' | 'resume'>>,
  given: ReadonlySet<OptionName>,
): void {
  const problems: string[] = [];
  if (on === 'tinker' && command !== 'train') problems.push('--on: only `tinyzero train` takes tinker');
  else if (on === 'tinker' && tinkerUrl === undefined && resume === undefined) {
    problems.push('--on: tinker needs --tinker-url, such as http://localhost:8000');
  }
  if (on === 'modal' && tinkerUrl !== undefined) problems.push('--tinker-url: needs --on tinker');
  if (on !== 'modal') {
    const ofModal: readonly OptionName[] = remoteOptionNames.filter((name) => name !== 'on');
    // Only runs have a plan here.
    const names = [...ofModal, ...(makesRun(command) ? [] : ['dryRun' as const])].filter((name) => given.has(name));
    problems.push(...names.map((name) => `${flag(name)}: needs --on modal`));
  }
  if (problems.length > 0) throw new UserError(problems.join('\n'), { exitCode: exitCodes.usage });
}
