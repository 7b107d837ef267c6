/**
 * @file A loaded model that answers questions one at a time and grades the answers to multiplications.
 */
import { promptInput } from '../../data/prompt.js';
import { textStream } from '../../model/checkpoint/tokenizer.js';
import { type LoadedModel, prepareSampling, sample, stateOf } from '../../model/loaded-model.js';
import { parameterCount } from '../../model/network/params.js';
import { isBuiltin } from '../../model/shipped.js';
import { completeSettings, heldOutSplitOf, type TrainingOptions } from '../../options/settings.js';
import { pieces } from '../../pretrain/vocabulary.js';
import { multiplicationReward } from '../../reward/multiplication.js';
import type { Score } from '../../reward/score.js';
import { UserError } from '../../util/errors.js';
import { type Question, readQuestion } from './question.js';

export interface PlayerOptions {
  /** Shown above its answers. */
  readonly name: string;
  /** Wording, prompt style and reward follow from these and the model, as in a run. */
  readonly training: TrainingOptions;
  /** 0 is greedy. */
  readonly temperature: number;
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly question: Question;
  readonly text: string;
  /** The model ended the answer; false where it was cut off or stopped. */
  readonly finished: boolean;
  readonly stopped: boolean;
  readonly tokens: number;
  readonly seconds: number;
  /** For answers to multiplications that were not stopped. */
  readonly score?: Score;
}

interface AskOptions {
  /** Called with new text of the answer as it is drawn. */
  readonly onText: (text: string) => void;
  /** Stops the answer; the result is the text so far. */
  readonly signal: AbortSignal;
}

export interface Player {
  readonly name: string;
  readonly maxNewTokens: number;
  /** What the model can be asked, in words; undefined where it can spell any text. */
  readonly spelling: string | undefined;
  /** The question that the model is asked for this line. @throws UserError for a text that the model cannot take. */
  read(line: string): Question;
  ask(question: Question, options: AskOptions): Promise<Answer>;
}

/** The longest prompt: room for a page of text, while a short question needs no large cache. */
const maxPromptTokens = 512;

/** Loads the weights. */
export async function openPlayer(
  model: LoadedModel,
  { name, training, temperature, signal }: PlayerOptions,
): Promise<Player> {
  const { pretrained, tokenizer } = stateOf(model);
  const { config, configRecord } = pretrained;
  const facts = {
    heldOut: heldOutSplitOf(configRecord),
    hasChatTemplate: tokenizer.chatTemplate !== null,
    parameters: parameterCount(config),
  };
  const { wording, promptStyle, maxNewTokens, reward, rewardReads, seed } = completeSettings(training, facts);
  const promptRoom = Math.min(maxPromptTokens, config.maxPositions);
  const call = { temperature, maxNewTokens, promptRoom, seed };
  await prepareSampling(model, { ...call, signal });
  const asked = new Map<string, number>();

  const encode = ({ text }: Question) => {
    const input = promptInput(text, { style: promptStyle });
    const ids = 'messages' in input ? tokenizer.encodeChat(input.messages) : tokenizer.encode(input.text);
    if (ids.length > 0 && ids.length <= promptRoom) return ids;
    throw new UserError(`The prompt has ${ids.length} tokens; it may have 1 to ${promptRoom}.`);
  };

  return {
    name,
    maxNewTokens,
    spelling: isBuiltin(configRecord) ? builtinSpelling() : undefined,
    read(line) {
      const question = readQuestion(line, wording, promptStyle);
      encode(question);
      return question;
    },
    async ask(question, { onText, signal: stop }) {
      const promptIds = encode(question);
      const key = promptIds.join(',');
      const firstSample = asked.get(key) ?? 0;
      asked.set(key, firstSample + 1); // the same question again is another sample
      const stream = textStream(tokenizer);
      const ids: number[] = [];
      const onToken = (_: number, id: number) => {
        ids.push(id);
        onText(stream.push(id));
      };
      const start = performance.now();
      let finished = false;
      try {
        const [completions] = await sample(model, [promptIds], { ...call, firstSample, signal: stop, onToken });
        finished = completions?.[0]?.finishReason === 'stop';
      } catch (error) {
        if (!stop.aborted) throw error;
      }
      onText(stream.end());
      const text = tokenizer.decode(ids);
      const { product } = question;
      const graded = product !== undefined && !stop.aborted;
      const rules = { kind: reward, read: rewardReads };
      return {
        question,
        text,
        finished,
        stopped: stop.aborted,
        tokens: ids.length,
        seconds: (performance.now() - start) / 1000,
        ...(graded && { score: multiplicationReward(text, product.a * product.b, { finished }, rules) }),
      };
    },
  };
}

/** `digits, × + = ? , . and the words "What is", "think:" and "answer:"`. */
function builtinSpelling(): string {
  const known = [...new Set(pieces.slice(2).map((piece) => piece.trim()))].filter((piece) => !/\d/.test(piece));
  const words = known.filter((piece) => /[a-z]/i.test(piece)).map((word) => `"${word}"`);
  const signs = known.filter((piece) => !/[a-z]/i.test(piece));
  return `digits, ${signs.join(' ')} and the words ${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
