/**
 * @file `tinyzero score`: log-probs of given completions, a line of JSON for each line of input, in the same order.
 */
import { loadModel, type ScoreInput, score } from '../../model/loaded-model.js';
import { stateOf } from '../../model/model-state.js';
import { usageError } from '../../model/open.js';
import { readCompletionRow } from '../../model/prompt-input.js';
import { builtinModel } from '../../model/shipped.js';
import type { OptionValues } from '../../options/table.js';
import { trainedModel } from '../../run/checkpoints.js';
import { exitCodes } from '../../util/errors.js';
import { readJsonLines } from '../../util/json.js';
import { interruptible } from '../terminal/interrupt.js';
import { orderedOutput } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

type Values = OptionValues<
  'model' | 'input' | 'chat' | 'promptStyle' | 'temperature' | 'precision' | 'engine' | 'install' | 'quiet'
>;

export async function run(values: Values): Promise<number> {
  await interruptible((signal) => scoreInput(values, signal));
  return exitCodes.ok;
}

async function scoreInput(values: Values, signal: AbortSignal): Promise<void> {
  const { input, temperature = 1 } = values;
  if (input === undefined) throw usageError('--input is missing: a file of JSON lines, or - for standard input.');
  if (temperature === 0) throw usageError('--temperature must be above 0.');
  const reporter = consoleReporter({ quiet: values.quiet });
  const model = await loadModel(trainedModel(values.model ?? builtinModel), values, reporter, signal);
  try {
    const lines = await readJsonLines(input, '{"prompt": "7 × 12 =", "completion": " 84", "eos": true}', signal);
    const reader = { ...stateOf(model), chat: values.chat || values.promptStyle === 'chat' };
    const rows = lines.map(({ where, record }): ScoreInput => {
      const { promptIds, completionIds } = readCompletionRow(record, where, reader);
      return { prompt: promptIds, completion: completionIds };
    });
    const work = reporter.work('Scoring', 'lines');
    const ordered = orderedOutput((line) => {
      work.hide();
      process.stdout.write(line);
    });
    let done = 0;
    try {
      await score(model, rows, {
        temperature,
        signal,
        onScore(index, scored) {
          ordered.push(index, `${JSON.stringify(scored)}\n`);
          ordered.end(index);
          done += 1;
          work.update({ done, total: rows.length });
        },
      });
    } finally {
      work.end();
    }
  } finally {
    model.close();
  }
}
