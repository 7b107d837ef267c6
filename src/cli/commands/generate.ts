/**
 * @file `tinyzero generate`: completes one prompt, streaming the text, or a file of prompts.
 */
import {
  chooseSampling,
  describeSampling,
  type GenerationConfig,
  type SamplingChoice,
} from '../../model/checkpoint/generation-config.js';
import { type Tokenizer, textStream } from '../../model/checkpoint/tokenizer.js';
import { type LoadedModel, loadModel, type SampleCall, type SampledText, sample } from '../../model/loaded-model.js';
import { stateOf } from '../../model/model-state.js';
import { usageError } from '../../model/open.js';
import { readPrompt } from '../../model/prompt-input.js';
import { builtinModel } from '../../model/shipped.js';
import type { serverOptionNames } from '../../options/names.js';
import type { OptionValues } from '../../options/table.js';
import { trainedModel } from '../../run/checkpoints.js';
import { sampleTexts } from '../../run/server/samplers.js';
import { exitCodes } from '../../util/errors.js';
import { readJsonLines, readText } from '../../util/json.js';
import type { Work } from '../../util/reporter.js';
import { interruptible } from '../terminal/interrupt.js';
import { orderedOutput } from '../terminal/output.js';
import { consoleReporter } from '../terminal/progress.js';

type Values = OptionValues<
  | 'model'
  | 'prompt'
  | 'input'
  | 'chat'
  | 'promptStyle'
  | 'temperature'
  | 'topP'
  | 'topK'
  | 'maxNewTokens'
  | 'samples'
  | 'seed'
  | 'precision'
  | 'samplerWeights'
  | (typeof serverOptionNames)[number]
  | 'engine'
  | 'install'
  | 'json'
  | 'quiet'
>;

export async function run(values: Values): Promise<number> {
  await interruptible((signal) => generate(values, signal));
  return exitCodes.ok;
}

async function generate(values: Values, signal: AbortSignal): Promise<void> {
  checkUsage(values);
  const { samples = 1, maxNewTokens, seed } = values;
  const reporter = consoleReporter({ quiet: values.quiet });
  const model = await loadModel(trainedModel(values.model ?? builtinModel), values, reporter, signal);
  try {
    const { pretrained, tokenizer } = stateOf(model);
    const prompts = await readPrompts(values, model, signal);
    const choice = chooseSampling({ ...values, several: samples > 1 }, pretrained.generation);
    for (const line of samplingNotes(choice, values, pretrained.generation)) reporter.line(line);
    const output = values.json
      ? jsonOutput(prompts, samples, reporter.work('Generating', 'completions'))
      : textOutput(prompts.length, samples, tokenizer);
    let beganMs: number | undefined;
    const call = { ...choice, samples, seed, ...(maxNewTokens !== undefined && { maxNewTokens }), signal };
    try {
      const watched: SampleCall = {
        ...call,
        ...output,
        onToken(rollout, id) {
          beganMs ??= performance.now();
          output.onToken?.(rollout, id);
        },
      };
      const ids = prompts.map((prompt) => prompt.ids);
      const { samplerUrl } = values;
      if (samplerUrl !== undefined) beganMs = performance.now();
      const completions =
        samplerUrl === undefined
          ? await sample(model, ids, watched)
          : await sampleTexts({ ...values, samplerUrl }, stateOf(model), ids, watched, reporter, signal);
      const elapsedMs = performance.now() - (beganMs ?? performance.now());
      output.close();
      if (!values.json) reporter.line(summary(completions.flat(), elapsedMs));
    } finally {
      output.close();
    }
  } finally {
    model.close();
  }
}

function checkUsage({ prompt, input, temperature, samples = 1 }: Values): void {
  if (prompt === undefined && input === undefined) {
    throw usageError('--prompt or --input is missing.', 'Try `tinyzero generate --prompt "What is 7 × 8?"`.');
  }
  if (prompt !== undefined && input !== undefined) throw usageError('--prompt and --input cannot be combined.');
  if (temperature === 0 && samples > 1) {
    throw usageError(
      '--temperature 0 gives the same completion every time.',
      'Use --samples 1, or a --temperature above 0.',
    );
  }
}

interface Prompt {
  /** The prompt as given. */
  readonly prompt: unknown;
  readonly ids: readonly number[];
}

async function readPrompts(values: Values, model: LoadedModel, signal: AbortSignal): Promise<Prompt[]> {
  const reader = { ...stateOf(model), chat: values.chat || values.promptStyle === 'chat' };
  if (values.prompt !== undefined) {
    const piped = values.prompt === '-';
    const text = piped ? await readText('-', signal) : values.prompt;
    return [{ prompt: text, ids: readPrompt(text, piped ? 'standard input' : '--prompt', reader) }];
  }
  const lines = await readJsonLines(values.input!, '{"prompt": "What is 7 × 12?"}', signal);
  return lines.map(({ where, record }) => ({
    prompt: record.prompt,
    ids: readPrompt(record.prompt, where, reader),
  }));
}

/** The sampling in use and where it comes from, in one or two lines. */
function samplingNotes(choice: SamplingChoice, values: Values, generation: GenerationConfig): string[] {
  const { doSample, temperature, topP, topK, unsupported } = generation;
  const fromFile =
    doSample &&
    ((values.temperature === undefined && temperature !== undefined) ||
      (values.topP === undefined && topP !== undefined) ||
      (values.topK === undefined && topK !== undefined));
  const notes = [`Sampling: ${describeSampling(choice)}${fromFile ? " (the model's generation_config.json)" : ''}.`];
  if (choice.temperature > 0 && unsupported.length > 0) {
    notes.push(`generation_config.json also sets ${unsupported.join(', ')}, which tinyzero does not support.`);
  }
  return notes;
}

interface Output extends Pick<SampleCall, 'onToken' | 'onCompletion'> {
  /** Ends the last line. Called after the last completion or an error. Further calls have no effect. */
  close(): void;
}

/** Streams text as it is drawn; several completions follow one another, each with a title. */
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
      atLineStart = true;
    },
  };
}

/** One line of JSON per prompt, in order. */
function jsonOutput(prompts: readonly Prompt[], samples: number, work: Work): Output {
  const ordered = orderedOutput((line) => {
    work.hide();
    process.stdout.write(line);
  });
  const done: SampledText[] = new Array(prompts.length * samples);
  const missing = prompts.map(() => samples);
  let finished = 0;
  return {
    onCompletion(rollout, completion) {
      const index = Math.floor(rollout / samples);
      const { prompt, ids: promptIds } = prompts[index]!;
      done[rollout] = completion;
      finished += 1;
      work.update({ done: finished, total: done.length });
      missing[index] = missing[index]! - 1;
      if (missing[index] !== 0) return;
      const completions = done
        .slice(index * samples, (index + 1) * samples)
        .map(({ ids, text, logProbs, finishReason }) => {
          return { ids, text, logProbs, finishReason };
        });
      ordered.push(index, `${JSON.stringify({ prompt, promptIds, completions })}\n`);
      ordered.end(index);
    },
    close: work.end,
  };
}

function summary(completions: readonly SampledText[], elapsedMs: number): string {
  const tokens = completions.reduce((sum, { ids }) => sum + ids.length, 0);
  const seconds = elapsedMs / 1000;
  const cut = completions.filter(({ finishReason }) => finishReason === 'length').length;
  const which = completions.length > 1 ? `${cut} of ${completions.length} were` : 'it was';
  const note = cut === 0 ? '' : `; ${which} cut off at --max-new-tokens or at the model's maximum length`;
  return `${tokens} tokens in ${seconds.toFixed(1)} s, ${(tokens / Math.max(seconds, 1e-3)).toFixed(1)} a second${note}.`;
}
