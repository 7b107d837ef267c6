/** @file `tinyzero runs rm`: removes runs, after a question. */
import type { OptionValues } from '../../../options/table.js';
import { findRemovable, remove } from '../../../run/listing/remove.js';
import { exitCodes, UserError } from '../../../util/errors.js';
import { counted, formatBytes } from '../../../util/format.js';
import { interruptible } from '../../terminal/interrupt.js';
import { printResult } from '../../terminal/output.js';
import { consoleReporter } from '../../terminal/progress.js';

export async function run(
  { yes, json, quiet }: OptionValues<'yes' | 'json' | 'quiet'>,
  names: readonly string[],
): Promise<number> {
  // All are checked before the first is removed.
  const found = [...new Map(names.map(findRemovable).map((each) => [each.folder, each])).values()];
  const reporter = consoleReporter({ quiet });
  const what = found.map(
    ({ folder, runs, bytes }) => `${folder} (${runs === 1 ? '' : `${counted(runs, 'run')}, `}${formatBytes(bytes)})`,
  );
  return await interruptible(async (signal) => {
    if (!yes) {
      if (reporter.ask === undefined) {
        const problem = `This would remove ${what.join(', ')}.`;
        throw new UserError(
          { problem, fix: 'There is no terminal to ask on: add --yes to confirm.' },
          { exitCode: exitCodes.usage },
        );
      }
      if (!(await reporter.ask(`Remove ${what.join(', ')}?`, signal))) throw new UserError('Nothing was removed.');
    }
    found.forEach(remove);
    const bytes = found.reduce((sum, each) => sum + each.bytes, 0);
    printResult(json, { removed: found }, () => [
      `Removed ${found.map(({ folder }) => folder).join(', ')}: ${formatBytes(bytes)}.`,
    ]);
    return exitCodes.ok;
  });
}
