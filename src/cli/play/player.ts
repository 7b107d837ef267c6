/**
 * @file A model that answers questions one at a time: opened once, its program kept.
 */
import { promptInput } from '../../data/prompt.js';
import type { Engine } from '../../engine/backend.js';
import { textStream } from '../../model/checkpoint/tokenizer.js';
import { createModelProgram, samplingSizes } from '../../model/load.js';
import type { OpenModel } from '../../model/open.js';
import { endTokens } from '../../model/prompt-input.js';
import { sample, samplingParts } from '../../model/sampling/sample.js';
import { completeSettings, heldOutSplitOf, type TrainingOptions } from '../../options/settings.js';
import { multiplicationReward } from '../../reward/multiplication.js';
import type { Score } from '../../reward/score.js';
import { UserError } from '../../util/errors.js';
import { rolloutRandom } from '../../util/random.js';
import { type Question, readQuestion } from './question.js';

export interface PlayerOptions {
  /** What the player is called on the screen. */
  readonly name: string;
  /** Wording, prompt style and reward follow from these and the model, as in a run. */
  readonly training: TrainingOptions;
  /** 0 is greedy. */
  readonly temperature: number;
  readonly signal: AbortSignal;
  /** Bytes of the model that are in place. */
  readonly onProgress: (done: number, total: number) => void;
}

export interface Answer {
  readonly question: Question;
  readonly text: string;
  /** The model ended it; false when it was cut off or stopped. */
  readonly finished: boolean;
  readonly stopped: boolean;
  readonly tokens: number;
  readonly seconds: number;
  /** Of an answer to a multiplication that was not stopped. */
  readonly score?: Score;
}

export interface AskOptions {
  /** New text of the answer, as it is drawn. */
  readonly onText: (text: string) => void;
  /** Stops the answer; what there is of it is the result. */
  readonly signal: AbortSignal;
}

export interface Player {
  readonly name: string;
  readonly maxNewTokens: number;
  /** What the model would be asked for this line. @throws UserError for a text that the model cannot take. */
  read(line: string): Question;
  ask(question: Question, options: AskOptions): Promise<Answer>;
  close(): void;
}

/** The longest prompt: room for a page of text, while a short question does not pay for a huge cache. */
const maxPromptTokens = 512;

export async function openPlayer(
  engine: Engine,
  { pretrained, tokenizer }: OpenModel,
  { name, training, temperature, signal, onProgress }: PlayerOptions,
): Promise<Player> {
  const { config, configRecord } = pretrained;
  const facts = { heldOut: heldOutSplitOf(configRecord), hasChatTemplate: tokenizer.chatTemplate !== null };
  const { wording, promptStyle, maxNewTokens, reward, rewardReads, seed, precision } = completeSettings(
    training,
    facts,
  );
  const longest = Math.min(maxPromptTokens, config.maxPositions);
  const sizes = samplingSizes(config, { promptLengths: [longest], rollouts: 1, maxNewTokens });
  const drawing = { greedy: temperature === 0, topK: 0, topP: 1 };
  const parts = samplingParts(config, sizes, drawing, precision);
  const program = await createModelProgram(engine, pretrained, parts, { signal, onProgress, precision });
  const endIds = endTokens({ pretrained, tokenizer });
  const asked = new Map<string, number>();

  const encode = ({ text }: Question) => {
    const input = promptInput(text, promptStyle);
    const ids = 'messages' in input ? tokenizer.encodeChat(input.messages) : tokenizer.encode(input.text);
    if (ids.length > 0 && ids.length <= longest) return ids;
    throw new UserError(`The prompt has ${ids.length} tokens; it may have 1 to ${longest}.`);
  };

  return {
    name,
    maxNewTokens,
    read(line) {
      const question = readQuestion(line, wording, promptStyle);
      encode(question);
      return question;
    },
    async ask(question, { onText, signal: stop }) {
      const promptIds = encode(question);
      const key = promptIds.join(',');
      const number = asked.get(key) ?? 0;
      asked.set(key, number + 1); // the same question again is another sample
      const { uniform } = rolloutRandom({ seed, stage: 'play', problem: key, sample: number });
      const rollout = {
        promptIds,
        uniform,
        maxNewTokens: Math.min(maxNewTokens, config.maxPositions - promptIds.length + 1),
      };
      const stream = textStream(tokenizer);
      const ids: number[] = [];
      const onToken = (_: number, id: number) => {
        ids.push(id);
        onText(stream.push(id));
      };
      const start = performance.now();
      let finished = false;
      try {
        const { completions } = await sample(program, sizes, [rollout], { temperature, endIds, signal: stop, onToken });
        finished = completions[0]?.finishReason === 'stop';
      } catch (error) {
        if (!stop.aborted) throw error;
      }
      onText(stream.end());
      const text = tokenizer.decode(ids);
      const { product } = question;
      const graded = product !== undefined && !stop.aborted;
      const rules = { kind: reward, read: rewardReads };
      return {
        ...{ question, text, finished, stopped: stop.aborted, tokens: ids.length },
        seconds: (performance.now() - start) / 1000,
        ...(graded && { score: multiplicationReward(text, product.a * product.b, { finished }, rules) }),
      };
    },
    close: () => program.dispose(),
  };
}
