/** @file `tinyzero push`: uploads a model to a Hugging Face hub, with a model card made from its run. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { adapterConfigFile } from '../../model/checkpoint/adapter.js';
import { describePretrained } from '../../model/checkpoint/pretrained.js';
import { hubSettings } from '../../model/hub/repo.js';
import { modelFilesOf, uploadModel, uploadToken } from '../../model/hub/upload.js';
import { parameterCount } from '../../model/network/params.js';
import { usageError } from '../../model/open.js';
import { shippedModel } from '../../model/shipped.js';
import type { OptionValues } from '../../options/table.js';
import { trainedModel } from '../../run/checkpoints.js';
import { runFiles } from '../../run/folder.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { formatBytes } from '../../util/format.js';
import { interruptible } from '../terminal/interrupt.js';
import { printResult } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

type Values = OptionValues<'private' | 'yes' | 'json' | 'quiet'>;

export async function run(values: Values, operands: readonly string[]): Promise<number> {
  const { private: isPrivate, yes, json, quiet } = values;
  const [given, repo] = [operands[0]!, operands[1]!];
  if (!/^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(repo)) {
    throw usageError(`'${repo}' is not a repository name.`, 'Use the form org/name.');
  }
  const folder = resolve(shippedModel(trainedModel(given)));
  const files = modelFilesOf(folder);
  const settings = hubSettings();
  uploadToken(settings); // before a question is asked
  const card = await cardOf(given, folder, repo);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const what = `${files.length} files (${formatBytes(bytes)}) of ${folder} to ${settings.endpoint}/${repo}`;
  const reporter = consoleReporter({ quiet, json });
  return await interruptible(async (signal) => {
    if (!yes) {
      if (reporter.ask === undefined) {
        throw usageError(`This would upload ${what}.`, 'Without a terminal, confirm with --yes.');
      }
      const kind = isPrivate ? 'a private repository' : 'a public repository';
      if (!(await reporter.ask(`Upload ${what}, ${kind}?`, signal))) throw new UserError('Nothing was uploaded.');
    }
    reporter.line(`Uploading ${what}`);
    const url = await uploadModel({ repo, folder, files, card, private: isPrivate }, settings, signal);
    printResult(json, { url, files: [...files.map(({ name }) => name), 'README.md'], bytes }, () => [
      `The model is at ${url}, with a model card.`,
    ]);
    return exitCodes.ok;
  });
}

/** The model card. For a run folder, or a checkpoint in one, it describes the run. */
async function cardOf(given: string, folder: string, repo: string): Promise<string> {
  const [{ modelCard }, { readRunRecord }] = await Promise.all([
    import('../../report/model-card.js'),
    import('../../report/read.js'),
  ]);
  const isAdapter = existsSync(join(folder, adapterConfigFile));
  const hasConfig = existsSync(join(folder, 'config.json'));
  const parameters = hasConfig ? parameterCount(describePretrained(folder).config) : 0;
  const record = existsSync(join(given, runFiles.problems)) ? readRunRecord(given) : undefined;
  return modelCard({ name: repo.split('/')[1]!, parameters, isAdapter }, record);
}
