/**
 * @file `tinyzero play`: ask a model, or two side by side, at a prompt.
 */

import { describeSampling } from '../../model/checkpoint/generation-config.js';
import { openModel, openWantedEngine } from '../../model/open.js';
import { builtinModel } from '../../model/shipped.js';
import { defaultOptions } from '../../options/settings.js';
import type { CommonOptionName, OptionValues } from '../../options/table.js';
import { trainedModel } from '../../run/final.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { type Answer, openPlayer, type Player } from '../play/player.js';
import type { Question } from '../play/question.js';
import { type Turn, turnTexts } from '../play/view.js';
import { fitted, liveBlock, sideBySide } from '../terminal/columns.js';
import { interruptible } from '../terminal/interrupt.js';
import { inputLines } from '../terminal/lines.js';
import { paintFor } from '../terminal/paint.js';
import { consoleReporter } from '../terminal/progress.js';

type Values = OptionValues<
  | ('checkpoint' | 'compare' | 'preset' | 'temperature' | 'maxNewTokens' | 'seed' | 'reward' | 'precision')
  | ('engine' | 'install' | 'json' | CommonOptionName)
>;

const intro = 'Ask 7 x 8, or any text. Ctrl-C stops an answer, Ctrl-D leaves.';

export async function run(values: Values): Promise<number> {
  const players = await interruptible((signal) => openPlayers(values, signal));
  try {
    if (process.stdin.isTTY) return await converse(players, values);
    return await interruptible((signal) => converse(players, values, signal));
  } finally {
    for (const player of players) player.close();
  }
}

async function openPlayers(values: Values, signal: AbortSignal): Promise<Player[]> {
  const {
    checkpoint = builtinModel,
    compare,
    temperature = 0,
    quiet,
    engine: _,
    install: __,
    json: ___,
    color: ____,
    ...given
  } = values;
  const reporter = consoleReporter({ quiet });
  const names = compare === undefined ? [checkpoint] : [checkpoint, compare];
  const models = [];
  const players: Player[] = [];
  try {
    for (const name of names) models.push({ name, model: await openModel(trainedModel(name), reporter, signal) });
    reporter.line(`Sampling: ${describeSampling({ temperature, topP: 1, topK: 0 })}.`);
    const engine = await openWantedEngine(values, reporter, signal);
    for (const { name, model } of models) {
      const training = defaultOptions({ ...given, model: name });
      const loading = reporter.work(`Loading ${name}`, 'bytes');
      const onProgress = (done: number, total: number) => loading.update({ done, total });
      players.push(await openPlayer(engine, model, { name, training, temperature, signal, onProgress }));
      loading.end();
    }
    return players;
  } catch (error) {
    for (const player of players) player.close();
    throw error;
  } finally {
    for (const { model } of models) model.pretrained.weights.close();
  }
}

/** Reads lines and shows answers until the input ends. `signal`: of a pipe, whose work ends as a whole. */
async function converse(
  players: readonly Player[],
  { json, quiet }: Pick<Values, 'json' | 'quiet'>,
  signal?: AbortSignal,
): Promise<number> {
  const lines = inputLines('> ', signal ?? new AbortController().signal);
  const show = json ? showJson : process.stdout.isTTY ? showColumns : showPlain;
  if (lines.interactive) consoleReporter({ quiet }).line(intro);
  let refused = false;
  for (let line = await lines.next(); line !== undefined; line = await lines.next()) {
    if (line.trim() === '') continue;
    const input = line.trim();
    try {
      const questions = players.map((player) => player.read(input));
      // At the terminal Ctrl-C ends the answer and not the conversation.
      if (signal !== undefined) await show(input, players, questions, signal);
      else await interruptible((stop) => show(input, players, questions, stop), ['SIGINT']);
    } catch (error) {
      if (!(error instanceof UserError) || signal?.aborted) throw error;
      refused = true;
      process.stderr.write(`${fitted(paintFor(process.stderr).bad(error.message), process.stderr)}\n`);
      if (json) process.stdout.write(`${JSON.stringify({ input, error: error.message })}\n`);
    }
  }
  signal?.throwIfAborted();
  return refused && !lines.interactive ? exitCodes.failure : exitCodes.ok;
}

type Show = (
  input: string,
  players: readonly Player[],
  questions: readonly Question[],
  stop: AbortSignal,
) => Promise<void>;

/** All answers at once, side by side where the terminal is wide enough, as they come. */
const showColumns: Show = async (_, players, questions, stop) => {
  const { stdout } = process;
  const block = liveBlock(stdout);
  const paint = paintFor(stdout);
  const turns: Turn[] = players.map(({ name }, i) => ({ name, question: questions[i]!, text: '' }));
  const lines = () =>
    sideBySide(
      turns.map((turn, i) => turnTexts(turn, players[i]!.maxNewTokens, paint)),
      (stdout.columns || 80) - 1,
    );
  const answering = players.map(async (player, i) => {
    const onText = (text: string) => {
      turns[i] = { ...turns[i]!, text: turns[i]!.text + text };
      block.draw(lines);
    };
    const answer = await player.ask(questions[i]!, { onText, signal: stop });
    turns[i] = { ...turns[i]!, answer };
  });
  await Promise.all(answering);
  block.end([...lines(), '']);
};

/** One answer after the other, each when it is whole. */
const showPlain: Show = async (_, players, questions, stop) => {
  for (const [i, answer] of (await answers(players, questions, stop)).entries()) {
    const { name, maxNewTokens } = players[i]!;
    const turn = { name, question: questions[i]!, text: answer.text, answer };
    process.stdout.write(`${turnTexts(turn, maxNewTokens, paintFor(process.stdout)).join('\n')}\n\n`);
  }
};

/** One object a line of input. */
const showJson: Show = async (input, players, questions, stop) => {
  const completions = (await answers(players, questions, stop)).map((answer, i) => {
    const { question, score, seconds: _, stopped: __, ...rest } = answer;
    return { model: players[i]!.name, prompt: question.text, ...rest, ...score };
  });
  process.stdout.write(`${JSON.stringify({ input, completions })}\n`);
};

async function answers(players: readonly Player[], questions: readonly Question[], signal: AbortSignal) {
  const done: Answer[] = [];
  for (const [i, player] of players.entries()) {
    done.push(await player.ask(questions[i]!, { onText: () => {}, signal }));
  }
  return done;
}
