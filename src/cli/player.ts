/**
 * @file A player of `tinyzero play`: a loaded model that answers typed questions one at a time. A multiplication is asked in
 * the model's own wording and its answer graded; any other text is asked unchanged.
 */
import type { Product } from '../data/multiplication.js';
import { type PromptStyle, promptInput, type Wording, wordings } from '../data/prompt.js';
import { textStream } from '../model/checkpoint/tokenizer.js';
import { type LoadedModel, prepareSampling, sample } from '../model/loaded-model.js';
import { stateOf } from '../model/model-state.js';
import { isBuiltin } from '../model/shipped.js';
import { factsOf, promptFormOf } from '../options/problems.js';
import { completeSettings, type TrainingOptions } from '../options/settings.js';
import { pieces } from '../pretrain/vocabulary.js';
import { multiplicationReward } from '../reward/multiplication.js';
import type { Score } from '../reward/score.js';
import { UserError } from '../util/errors.js';
import type { Reporter } from '../util/reporter.js';

export interface PlayerOptions {
  /** Shown above its answers. */
  readonly name: string;
  /** Determine wording, prompt style and reward together with the model, as in a run. */
  readonly training: TrainingOptions;
  /** The options of the run that trained the model: prompts are the run's own, with its system message and its examples. */
  readonly trainedWith: TrainingOptions | undefined;
  /** 0: greedy. */
  readonly temperature: number;
  /** Receives progress. */
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly question: Question;
  readonly text: string;
  /** Whether the model ended the answer; false if it was cut off or stopped. */
  readonly finished: boolean;
  readonly stopped: boolean;
  readonly tokens: number;
  readonly seconds: number;
  /** Present for answers to multiplications that were not stopped. */
  readonly score?: Score;
}

interface AskOptions {
  /** Called with new text of the answer as it is drawn. */
  readonly onText: (text: string) => void;
  /** Aborting it stops the answer; the result is the text so far. */
  readonly signal: AbortSignal;
}

export interface Player {
  readonly name: string;
  readonly maxNewTokens: number;
  /** Describes the text that the model can spell; undefined if it can spell any text. */
  readonly spelling: string | undefined;
  /** The question for a typed line. @throws UserError for a text that the model cannot encode. */
  read(line: string): Question;
  ask(question: Question, options: AskOptions): Promise<Answer>;
}

const taskApi = () => import('../index.js');

/** Longest prompt in tokens: about a page of text. */
const maxPromptTokens = 512;

/** Loads the weights. */
export async function openPlayer(
  model: LoadedModel,
  { name, training, trainedWith, temperature, reporter, signal }: PlayerOptions,
): Promise<Player> {
  const state = stateOf(model);
  const { tokenizer } = state;
  const { config, configRecord } = state.pretrained;
  const { wording, promptStyle, maxNewTokens, reward, rewardReads, seed } = completeSettings(training, factsOf(state));
  const form = trainedWith && (await promptFormOf(trainedWith, state, { taskApi, reporter, signal }));
  const promptRoom = Math.min(maxPromptTokens, config.maxPositions);
  const call = { temperature, maxNewTokens, promptRoom, seed };
  await prepareSampling(model, { ...call, signal });
  const asked = new Map<string, number>();

  const encode = ({ text }: Question) => {
    const input = promptInput(text, form ?? { style: promptStyle });
    const ids = 'messages' in input ? tokenizer.encodeChat(input.messages) : tokenizer.encode(input.text);
    if (ids.length > 0 && ids.length <= promptRoom) return ids;
    throw new UserError(`The prompt has ${ids.length} tokens; expected 1 to ${promptRoom}.`);
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

export interface Question {
  readonly text: string;
  /** Present for multiplications, the only questions with a known answer. */
  readonly product?: Product;
}

/** `7 x 8`, `7*8`, `What is 7 × 8?`: factors of up to four digits. */
const multiplication = /^(?:what\s+is\s+)?(\d{1,4})\s*[x×*·⋅]\s*(\d{1,4})\s*[=?]*$/iu;

export function readProduct(line: string): Product | undefined {
  const [, a, b] = multiplication.exec(line.trim()) ?? [];
  return a === undefined || b === undefined ? undefined : { a: Number(a), b: Number(b) };
}

/** The question for a typed line, in the given wording. */
export function readQuestion(line: string, wording: Wording, promptStyle: PromptStyle): Question {
  const product = readProduct(line);
  if (product !== undefined) return { text: wordings[wording](product), product };
  // A typed line has no line break, but a plain-text question for completion ends with one.
  return { text: promptStyle === 'raw' && line.endsWith('?') ? `${line}\n` : line };
}
