/**
 * @file Compares an exported model with the model it came from: the same prompts, answered greedily by tinyzero and by a
 * program that runs the export, token by token.
 */
import { wordings } from '../../data/prompt.js';
import type { Reporter } from '../../util/reporter.js';
import { type LoadRequest, loadModel, sample } from '../loaded-model.js';
import { stateOf } from '../model-state.js';
import { endTokens } from '../prompt-input.js';
import { isBuiltin } from '../shipped.js';
import type { Peer } from './peer.js';

/** Number of multiplications, and tokens of the longest answer. */
const checkSize = { prompts: 20, maxNewTokens: 32 };

interface Expected {
  readonly text: string;
  readonly addSpecialTokens: boolean;
  readonly promptIds: readonly number[];
  readonly ids: readonly number[];
  readonly logProbs: readonly number[];
}

/** Tinyzero's answers. */
export interface ExpectedAnswers {
  readonly answers: readonly Expected[];
  readonly endIds: readonly number[];
}

export interface ExportCheck {
  readonly program: string;
  readonly prompts: number;
  /** Prompts that both tokenized to the same ids. */
  readonly sameTokens: number;
  /** Answers with the same token ids. */
  readonly sameAnswers: number;
  /** Over all tokens up to the first different one; absent if the program gives no log-probs. */
  readonly largestLogProbGap?: number;
  readonly firstDifference?: {
    readonly prompt: string;
    /** Index in the answer, from 0. */
    readonly position: number;
    readonly expected: number | null;
    readonly found: number | null;
    /** Of the expected token: near -0.7 two tokens may be equally likely. */
    readonly logProb: number | null;
  };
}

/** Greedy answers of the model itself, in float32. */
export async function expectedAnswers(
  reference: string,
  request: Pick<LoadRequest, 'engine' | 'install'>,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExpectedAnswers> {
  const model = await loadModel(reference, { ...request, precision: 'f32' }, reporter, signal);
  try {
    const { pretrained, tokenizer } = stateOf(model);
    const chat = tokenizer.chatTemplate !== null;
    const wording = isBuiltin(pretrained.configRecord) ? 'builtin' : chat ? 'number' : 'question';
    const texts = Array.from({ length: checkSize.prompts }, (_, i) => {
      const question = wordings[wording]({ a: 2 + ((i * 7) % 11), b: 2 + ((i * 5 + 3) % 11) });
      return chat ? tokenizer.renderChat([{ role: 'user', content: question }]) : question;
    });
    const promptIds = texts.map((text) => tokenizer.encode(text, { addSpecialTokens: !chat }));
    const { maxNewTokens } = checkSize;
    const completions = await sample(model, promptIds, { temperature: 0, maxNewTokens, signal });
    const answers = texts.map((text, i) => {
      const { ids, logProbs } = completions[i]![0]!;
      return { text, addSpecialTokens: !chat, promptIds: promptIds[i]!, ids, logProbs };
    });
    return { answers, endIds: [...endTokens({ pretrained, tokenizer })] };
  } finally {
    model.close();
  }
}

/** Tokens of the longest prompt and answer together. */
export function longestOf({ answers }: ExpectedAnswers): number {
  return Math.max(...answers.map(({ promptIds }) => promptIds.length)) + checkSize.maxNewTokens;
}

/** Gives `peer` the same prompts, and closes it. */
export async function checkAgainst(
  peer: Peer,
  { answers, endIds }: ExpectedAnswers,
  onAnswer: (done: number) => void,
): Promise<ExportCheck> {
  let [sameTokens, sameAnswers] = [0, 0];
  let gap: number | undefined;
  let firstDifference: ExportCheck['firstDifference'];
  try {
    for (const [index, expected] of answers.entries()) {
      const { text, addSpecialTokens, promptIds, ids } = expected;
      const { maxNewTokens } = checkSize;
      const found = await peer.answer({ text, addSpecialTokens, promptIds, maxNewTokens, endIds });
      if (found.promptIds.join() === promptIds.join()) sameTokens += 1;
      const length = Math.max(ids.length, found.ids.length);
      const position = Array.from({ length }, (_, i) => i).find((i) => ids[i] !== found.ids[i]);
      if (position === undefined) sameAnswers += 1;
      else {
        firstDifference ??= {
          prompt: text,
          position,
          expected: ids[position] ?? null,
          found: found.ids[position] ?? null,
          logProb: expected.logProbs[position] ?? null,
        };
      }
      for (const [i, logProb] of found.logProbs?.slice(0, position).entries() ?? []) {
        gap = Math.max(gap ?? 0, Math.abs(logProb - expected.logProbs[i]!));
      }
      onAnswer(index + 1);
    }
  } finally {
    await peer.close();
  }
  return {
    program: peer.program,
    prompts: answers.length,
    sameTokens,
    sameAnswers,
    ...(gap !== undefined && { largestLogProbGap: gap }),
    ...(firstDifference && { firstDifference }),
  };
}
