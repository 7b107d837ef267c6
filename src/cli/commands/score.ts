/**
 * @file `tinyzero score`: log-probs of given completions, one line of JSON for each line of input, in the same order.
 */

import { checkMemory, createModelProgram } from '../../model/load.js';
import { openModel, openWantedEngine, usageError } from '../../model/open.js';
import { readCompletionRow } from '../../model/prompt-input.js';
import { score, scoreFunctions, scoreGroups } from '../../model/score.js';
import type { OptionValues } from '../../options/table.js';
import { exitCodes } from '../../util/errors.js';
import { readJsonLines } from '../../util/json-lines.js';
import { interruptible } from '../terminal/interrupt.js';
import { orderedOutput } from '../terminal/ordered.js';
import { consoleReporter } from '../terminal/progress.js';

type Values = OptionValues<
  'model' | 'input' | 'chat' | 'promptStyle' | 'temperature' | 'precision' | 'engine' | 'install' | 'quiet'
>;

export async function run(values: Values): Promise<number> {
  await interruptible((signal) => scoreInput(values, signal));
  return exitCodes.ok;
}

async function scoreInput(values: Values, signal: AbortSignal): Promise<void> {
  const { model: reference, input, temperature = 1, precision } = values;
  if (reference === undefined) throw usageError('--model is missing: a folder, or a hub id such as org/name.');
  if (input === undefined) throw usageError('--input is missing: a file of JSON lines, or - for standard input.');
  if (temperature === 0) throw usageError('--temperature must be above 0: at 0 only one token has any probability.');
  const reporter = consoleReporter(values);
  const model = await openModel(reference, reporter, signal);
  const { pretrained } = model;
  const { config } = pretrained;
  try {
    const lines = await readJsonLines(input, '{"prompt": "7 × 12 =", "completion": " 84", "eos": true}', signal);
    const reader = { ...model, chat: values.chat || values.promptStyle === 'chat' };
    const rows = lines.map(({ where, record }) => readCompletionRow(record, where, reader));
    const groups = scoreGroups(config, rows);
    const engine = await openWantedEngine(values, reporter, signal);
    const longest = groups.reduce((a, b) => (b.bytes > a.bytes ? b : a));
    checkMemory(engine, longest.bytes, `Scoring ${longest.length} tokens`);
    const loading = reporter.work('Loading the model', 'bytes');
    const onProgress = (done: number, total: number) => loading.update({ done, total });
    const parts = { state: {}, functions: scoreFunctions(config, groups, precision) };
    const program = await createModelProgram(engine, pretrained, parts, { signal, onProgress, precision });
    loading.end();
    const work = reporter.work('Scoring', 'lines');
    const ordered = orderedOutput((line) => {
      work.hide();
      process.stdout.write(line);
    });
    let done = 0;
    try {
      await score(program, groups, rows, {
        temperature,
        signal,
        onRow(index, logProbs) {
          const { promptIds, completionIds } = rows[index]!;
          const sum = logProbs.reduce((total, logProb) => total + logProb, 0);
          const result = { promptIds, completionIds, logProbs: Array.from(logProbs), sum };
          ordered.push(index, `${JSON.stringify(result)}\n`);
          ordered.end(index);
          done += 1;
          work.update({ done, total: rows.length });
        },
      });
    } finally {
      work.end();
      program.dispose();
    }
  } finally {
    pretrained.weights.close();
  }
}
