/**
 * @file `tinyzero play`: ask one model, or two side by side, interactively.
 */
import { createInterface } from 'node:readline';
import { describeSampling } from '../../model/checkpoint/generation-config.js';
import { type LoadedModel, loadModel } from '../../model/loaded-model.js';
import { builtinModel } from '../../model/shipped.js';
import type { CommonOptionName } from '../../options/names.js';
import { defaultOptions } from '../../options/settings.js';
import type { OptionName, OptionValues } from '../../options/table.js';
import { trainedModel } from '../../run/checkpoints.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { optionsOfRun, withOwnOptions } from '../own-options.js';
import { type Answer, openPlayer, type Player, type Question } from '../player.js';
import { fitted, harmless, liveBlock, sideBySide } from '../terminal/columns.js';
import { interruptible } from '../terminal/interrupt.js';
import { columnsOf, type Paint, paintFor } from '../terminal/paint.js';
import { consoleReporter, withoutRepeats } from '../terminal/progress.js';

type Values = OptionValues<
  | 'model'
  | 'compare'
  | 'preset'
  | 'temperature'
  | 'maxNewTokens'
  | 'seed'
  | 'reward'
  | 'precision'
  | 'engine'
  | 'install'
  | 'json'
  | CommonOptionName
>;

export async function run(values: Values, _: readonly string[], given: ReadonlySet<OptionName>): Promise<number> {
  const models: LoadedModel[] = [];
  try {
    const players = await interruptible((signal) => openPlayers(values, given, models, signal));
    if (process.stdin.isTTY) return await converse(players, values);
    return await interruptible((signal) => converse(players, values, signal));
  } finally {
    for (const model of models) model.close();
  }
}

/** Opens both models, so that a wrong name is reported at once, then loads them. Every open model is added to `models`. */
async function openPlayers(
  values: Values,
  given: ReadonlySet<OptionName>,
  models: LoadedModel[],
  signal: AbortSignal,
): Promise<Player[]> {
  const { compare, temperature = 0, quiet, preset, maxNewTokens, seed, reward, precision, engine, install } = values;
  // Both models open the engine, with the same lines.
  const reporter = withoutRepeats(consoleReporter({ quiet }));
  const names = [values.model ?? builtinModel, ...(compare === undefined ? [] : [compare])];
  // The model of a run is asked as it was in training.
  const asked = names.map((name) => {
    const trainedWith = given.has('preset') ? undefined : optionsOfRun(name);
    const options = withOwnOptions({ preset, maxNewTokens, seed, reward, precision }, trainedWith, given);
    return { name, trainedWith, training: defaultOptions({ ...options, model: name }) };
  });
  for (const { name, training } of asked) {
    const request = { engine, install, precision: training.precision };
    models.push(await loadModel(trainedModel(name), request, reporter, signal));
  }
  reporter.line(`Sampling: ${describeSampling({ temperature, topP: 1, topK: 0 })}.`);
  const players: Player[] = [];
  for (const [i, each] of asked.entries()) {
    players.push(await openPlayer(models[i]!, { ...each, temperature, reporter, signal }));
  }
  return players;
}

function intro(players: readonly Player[]): string {
  const limited = players.find(({ spelling }) => spelling !== undefined);
  const ask = limited === undefined ? 'Ask 7 x 8, or any text.' : `Ask 7 x 8. The model can spell ${limited.spelling}.`;
  return `${ask} Ctrl-C stops an answer, Ctrl-D quits.`;
}

/** Reads lines and shows answers until the input ends. `signal` stops the input if it is a pipe. */
async function converse(
  players: readonly Player[],
  { json, quiet }: Pick<Values, 'json' | 'quiet'>,
  signal?: AbortSignal,
): Promise<number> {
  const lines = inputLines('> ', signal ?? new AbortController().signal);
  const show = json ? showJson : process.stdout.isTTY ? showColumns : showPlain;
  if (lines.interactive) consoleReporter({ quiet }).line(intro(players));
  let refused = false;
  for (let line = await lines.next(); line !== undefined; line = await lines.next()) {
    if (line.trim() === '') continue;
    const input = line.trim();
    try {
      const questions = players.map((player) => player.read(input));
      // On a terminal, Ctrl-C ends the answer, not the conversation.
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

/** Streams all answers at once, side by side if the terminal is wide enough. */
const showColumns: Show = async (_, players, questions, stop) => {
  const { stdout } = process;
  const block = liveBlock(stdout);
  const paint = paintFor(stdout);
  const turns: Turn[] = players.map(({ name }, i) => ({ name, question: questions[i]!, text: '' }));
  const lines = () =>
    sideBySide(
      turns.map((turn, i) => turnTexts(turn, players[i]!.maxNewTokens, paint)),
      columnsOf(stdout) - 1,
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

/** Prints one complete answer after the other. */
const showPlain: Show = async (_, players, questions, stop) => {
  for (const [i, answer] of (await answers(players, questions, stop)).entries()) {
    const { name, maxNewTokens } = players[i]!;
    const turn = { name, question: questions[i]!, text: answer.text, answer };
    process.stdout.write(`${turnTexts(turn, maxNewTokens, paintFor(process.stdout)).join('\n')}\n\n`);
  }
};

/** Prints one JSON object per line of input. */
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

/** A player's text so far; `answer` is present when it is finished. */
interface Turn {
  readonly name: string;
  readonly question: Question;
  readonly text: string;
  readonly answer?: Answer;
}

/** The parts of one column, from top to bottom. */
function turnTexts({ name, question, text, answer }: Turn, maxNewTokens: number, paint: Paint): string[] {
  return [
    paint.strong(name),
    paint.faint(harmless(question.text.trim())),
    harmless(text),
    answer === undefined ? '' : verdict(answer, maxNewTokens, paint),
  ];
}

/** `exact, reward 1; 25 tokens in 40 ms`. */
function verdict(answer: Answer, maxNewTokens: number, paint: Paint): string {
  const { score, finished, stopped, tokens, seconds } = answer;
  const time = seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`;
  const cost = paint.faint(`${tokens} ${tokens === 1 ? 'token' : 'tokens'} in ${time}`);
  const cut = tokens < maxNewTokens ? "cut off at the model's maximum length" : `cut off at ${tokens} tokens`;
  const end = stopped ? paint.warn('stopped') : finished ? '' : paint.warn(cut);
  if (score === undefined) return [end, cost].filter(Boolean).join('; ');
  const grade = score.exact ? paint.good('exact') : paint.bad(score.parsed ? 'wrong' : 'no readable answer');
  return [`${grade}, reward ${score.reward}`, end, cost].filter(Boolean).join('; ');
}

interface LineSource {
  /** Whether the input is a terminal. */
  readonly interactive: boolean;
  /** The next line, or undefined at the end of the input. */
  next(): Promise<string | undefined>;
}

/** Number of lines that the arrow keys can recall. */
const historySize = 200;

/** The lines of standard input. @param signal ends the input if it is a pipe; not used on a terminal. */
function inputLines(prompt: string, signal: AbortSignal): LineSource {
  return process.stdin.isTTY ? typedLines(prompt) : pipedLines(signal);
}

function pipedLines(signal: AbortSignal): LineSource {
  const lines = createInterface({ input: process.stdin, terminal: false, signal })[Symbol.asyncIterator]();
  const next = async () => {
    const line = await lines.next();
    return line.done === true ? undefined : line.value;
  };
  return { interactive: false, next };
}

/**
 * Controls the terminal only while reading a line. Between lines, it is in its normal mode, in which Ctrl-C sends a signal
 * that reaches the current work.
 */
function typedLines(prompt: string): LineSource {
  const output = process.stdout.isTTY ? process.stdout : process.stderr;
  let history: string[] = [];
  const pasted: string[] = [];
  const ask = () =>
    new Promise<void>((resolve) => {
      const terminal = createInterface({
        input: process.stdin,
        output,
        prompt,
        history: [...history],
        historySize,
        removeHistoryDuplicates: true,
      });
      terminal.on('history', (lines) => {
        history = lines;
      });
      terminal.on('line', (line) => {
        // Several lines may be pasted at once; closing at the first would lose the others.
        if (pasted.push(line) === 1) setImmediate(() => terminal.close());
      });
      terminal.on('SIGINT', () => {
        output.write(terminal.line === '' ? '^C  (Ctrl-D quits)\n' : '^C\n');
        terminal.write(null, { ctrl: true, name: 'e' });
        terminal.write(null, { ctrl: true, name: 'u' });
        terminal.prompt();
      });
      terminal.once('close', () => {
        if (pasted.length === 0) output.write('\n');
        resolve();
      });
      terminal.prompt();
    });
  const next = async () => {
    if (pasted.length === 0) await ask();
    return pasted.shift();
  };
  return { interactive: true, next };
}
