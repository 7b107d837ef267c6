/**
 * @file `tinyzero generate`: completes one prompt, streaming the text, or a file of prompts.
 */

import { chooseSampling, describeSampling, type SamplingChoice } from '../../model/checkpoint/generation-config.js';
import { type Tokenizer, textStream } from '../../model/checkpoint/tokenizer.js';
import { createModelProgram, samplingSizes } from '../../model/load.js';
import { type OpenModel, openModel, openWantedEngine, usageError } from '../../model/open.js';
import { endTokens, planRollouts, readPrompt } from '../../model/prompt-input.js';
import { type Completion, sample, samplingParts } from '../../model/sampling/sample.js';
import type { OptionValues } from '../../options/table.js';
import { exitCodes } from '../../util/errors.js';
import { readJsonLines, readText } from '../../util/json-lines.js';
import type { Work } from '../../util/reporter.js';
import { interruptible } from '../terminal/interrupt.js';
import { orderedOutput } from '../terminal/ordered.js';
import { consoleReporter } from '../terminal/progress.js';

type Values = OptionValues<
  | ('model' | 'prompt' | 'input' | 'chat' | 'promptStyle' | 'temperature' | 'topP' | 'topK' | 'maxNewTokens')
  | ('samples' | 'seed' | 'precision' | 'engine' | 'install' | 'json' | 'quiet')
>;

/** For a checkpoint that says nothing; enough for a worked answer. */
const defaultMaxNewTokens = 256;

export async function run(values: Values): Promise<number> {
  await interruptible((signal) => generate(values, signal));
  return exitCodes.ok;
}

async function generate(values: Values, signal: AbortSignal): Promise<void> {
  checkUsage(values);
  const { samples = 1, maxNewTokens = defaultMaxNewTokens, precision } = values;
  const reporter = consoleReporter(values);
  const model = await openModel(values.model as string, reporter, signal);
  const { pretrained, tokenizer } = model;
  try {
    const { config, generation } = pretrained;
    const prompts = await readPrompts(values, model, signal);
    const choice = chooseSampling({ ...values, several: samples > 1 }, generation);
    for (const line of samplingNotes(choice, values, model)) reporter.line(line);
    const rollouts = planRollouts(
      prompts.map(({ ids }) => ids),
      { samples, maxNewTokens, seed: values.seed, maxPositions: config.maxPositions },
    );
    const engine = await openWantedEngine(values, reporter, signal);

    const sizes = samplingSizes(config, {
      promptLengths: prompts.map(({ ids }) => ids.length),
      rollouts: rollouts.length,
      maxNewTokens: Math.max(...rollouts.map((rollout) => rollout.maxNewTokens)),
    });
    const { topK, topP, temperature } = choice;
    const parts = samplingParts(config, sizes, { greedy: temperature === 0, topK, topP }, precision);
    const loading = reporter.work('Loading the model', 'bytes');
    const onProgress = (done: number, total: number) => loading.update({ done, total });
    const program = await createModelProgram(engine, pretrained, parts, { signal, onProgress, precision });
    loading.end();

    const endIds = endTokens(model);
    const output = values.json
      ? jsonOutput(prompts, samples, tokenizer, reporter.work('Generating', 'completions'))
      : textOutput(prompts.length, samples, tokenizer);
    const began = performance.now();
    try {
      const { completions } = await sample(program, sizes, rollouts, { temperature, endIds, signal, ...output });
      if (!values.json) reporter.line(summary(completions, performance.now() - began));
    } finally {
      output.close();
      program.dispose();
    }
  } finally {
    pretrained.weights.close();
  }
}

function checkUsage({ model, prompt, input, temperature, samples = 1 }: Values): void {
  if (model === undefined) throw usageError('--model is missing: a folder, or a hub id such as org/name.');
  if (prompt === undefined && input === undefined) throw usageError('--prompt or --input is missing.');
  if (prompt !== undefined && input !== undefined) throw usageError('--prompt and --input exclude each other.');
  if (temperature === 0 && samples > 1) {
    throw usageError('--temperature 0 gives the same completion every time.', 'Use --samples 1 or a temperature.');
  }
}

interface Prompt {
  /** As it was given. */
  readonly prompt: unknown;
  readonly ids: readonly number[];
}

async function readPrompts(
  values: Values,
  { pretrained, tokenizer }: OpenModel,
  signal: AbortSignal,
): Promise<Prompt[]> {
  const reader = { tokenizer, pretrained, chat: values.chat || values.promptStyle === 'chat' };
  if (values.prompt !== undefined) {
    const piped = values.prompt === '-';
    const text = piped ? await readText('-', signal) : values.prompt;
    return [{ prompt: text, ids: readPrompt(text, piped ? 'standard input' : '--prompt', reader) }];
  }
  const lines = await readJsonLines(values.input as string, '{"prompt": "What is 7 × 12?"}', signal);
  return lines.map(({ where, record }) => ({
    prompt: record.prompt,
    ids: readPrompt(record.prompt, where, reader),
  }));
}

/** What is sampled from, and why, in a line or two. */
function samplingNotes(choice: SamplingChoice, values: Values, { pretrained }: OpenModel): string[] {
  const { doSample, temperature, topP, topK, unsupported } = pretrained.generation;
  const fromFile =
    doSample &&
    ((values.temperature === undefined && temperature !== undefined) ||
      (values.topP === undefined && topP !== undefined) ||
      (values.topK === undefined && topK !== undefined));
  const notes = [`Sampling: ${describeSampling(choice)}${fromFile ? " (the model's generation_config.json)" : ''}.`];
  if (choice.temperature > 0 && unsupported.length > 0) {
    notes.push(`generation_config.json also asks for ${unsupported.join(', ')}, which tinyzero does not apply.`);
  }
  return notes;
}

interface Output {
  readonly onToken?: (rollout: number, id: number) => void;
  readonly onCompletion: (rollout: number, completion: Completion) => void;
  /** After the last completion, or after an error. */
  close(): void;
}

/** Text as it is drawn; several completions one after the other, each under a title. */
function textOutput(prompts: number, samples: number, tokenizer: Tokenizer): Output {
  const { stdout } = process;
  const title = (rollout: number) => {
    const names = [prompts > 1 ? `prompt ${Math.floor(rollout / samples) + 1}` : ''];
    if (samples > 1) names.push(`sample ${(rollout % samples) + 1}`);
    const text = names.filter(Boolean).join(', ');
    return text === '' ? '' : `--- ${text} ---\n`;
  };
  let atLineStart = true;
  let titled = -1;
  const ordered = orderedOutput((text, rollout) => {
    if (titled !== rollout) stdout.write(`${atLineStart ? '' : '\n'}${title(rollout)}`);
    titled = rollout;
    stdout.write(text);
    if (text !== '') atLineStart = text.endsWith('\n');
  });
  const streams = new Map<number, ReturnType<typeof textStream>>();
  return {
    onToken(rollout, id) {
      let stream = streams.get(rollout);
      if (stream === undefined) {
        stream = textStream(tokenizer);
        streams.set(rollout, stream);
      }
      ordered.push(rollout, stream.push(id));
    },
    onCompletion(rollout) {
      ordered.push(rollout, streams.get(rollout)?.end() ?? '');
      ordered.end(rollout);
      streams.delete(rollout);
    },
    close() {
      if (!atLineStart) stdout.write('\n');
    },
  };
}

/** One line a prompt, in the order of the prompts. */
function jsonOutput(prompts: readonly Prompt[], samples: number, tokenizer: Tokenizer, work: Work): Output {
  const ordered = orderedOutput((line) => {
    work.hide();
    process.stdout.write(line);
  });
  const done: Completion[] = new Array(prompts.length * samples);
  const missing = prompts.map(() => samples);
  let finished = 0;
  return {
    onCompletion(rollout, completion) {
      const index = Math.floor(rollout / samples);
      const { prompt, ids: promptIds } = prompts[index] as Prompt;
      done[rollout] = completion;
      finished += 1;
      work.update({ done: finished, total: done.length });
      missing[index] = (missing[index] as number) - 1;
      if (missing[index] !== 0) return;
      const completions = done.slice(index * samples, (index + 1) * samples).map(({ ids, logProbs, finishReason }) => {
        return { ids, text: tokenizer.decode(ids), logProbs, finishReason };
      });
      ordered.push(index, `${JSON.stringify({ prompt, promptIds, completions })}\n`);
      ordered.end(index);
    },
    close: work.end,
  };
}

function summary(completions: readonly Completion[], elapsedMs: number): string {
  const tokens = completions.reduce((sum, { ids }) => sum + ids.length, 0);
  const seconds = elapsedMs / 1000;
  const cut = completions.filter(({ finishReason }) => finishReason === 'length').length;
  const which = completions.length > 1 ? `${cut} of ${completions.length} were` : 'it was';
  const note = cut === 0 ? '' : `; ${which} cut at --max-new-tokens or the longest sequence of the model`;
  return `${tokens} tokens in ${seconds.toFixed(1)} s, ${(tokens / seconds).toFixed(1)} a second${note}.`;
}
