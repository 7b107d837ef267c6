/**
 * @file `tinyzero init task` and `tinyzero init problems`: writes a starter file that explains every part and that the
 * built-in model can be trained on.
 */
import { extname } from 'node:path';
import { usageError } from '../../../model/open.js';
import { alternatives } from '../../../options/spec.js';
import type { OptionValues } from '../../../options/table.js';
import { shellWord } from '../../../report/command.js';
import { exitCodes, systemErrorCode, UserError } from '../../../util/errors.js';
import { explainWrites, writeNewFile } from '../../../util/file.js';
import { programName } from '../../program-name.js';
import { printResult } from '../../terminal/output.js';

type Values = OptionValues<'json'>;

export async function task(values: Values, [file = 'task.ts']: readonly string[]): Promise<number> {
  const form = formOf(file, ['.ts', '.mts', '.js', '.mjs']);
  return write(file, starterTask(form.endsWith('ts')), `train --task ${shellWord(file)}`, values);
}

export async function problems(values: Values, [file = 'problems.jsonl']: readonly string[]): Promise<number> {
  const form = formOf(file, ['.jsonl', '.csv']);
  return write(file, starterProblems(form), `train --problems ${shellWord(file)}`, values);
}

/** @throws UserError (wrong usage) for any other extension. */
function formOf<Form extends string>(file: string, forms: readonly Form[]): Form {
  const form = forms.find((each) => each === extname(file));
  if (form === undefined) throw usageError(`${file}: expected a file ending in ${alternatives(forms)}.`);
  return form;
}

function write(file: string, content: string, next: string, { json }: Values): number {
  try {
    explainWrites(file, () => writeNewFile(file, content), 'Choose another name.');
  } catch (error) {
    if (!(error instanceof UserError) || systemErrorCode(error.cause) !== 'EEXIST') throw error;
    throw new UserError(
      { problem: `${file} exists and is not overwritten.`, fix: 'Choose another name, or remove it.' },
      { cause: error },
    );
  }
  printResult(json, { file, next: `${programName()} ${next}` }, () => [
    `Wrote ${file}. It runs as it is:`,
    `  ${programName()} ${next}`,
  ]);
  return exitCodes.ok;
}

interface StarterProblem {
  readonly prompt: string;
  readonly answer: number;
  readonly split: 'train' | 'test';
  readonly cluster: string;
  readonly comment?: string;
}

/** Comments of the first lines. */
const comments = [
  'One problem per line. The built-in model can spell only sums and products; other models accept any text.',
  'prompt is sent to the model unchanged. It should state the form of the answer.',
  'answer is a whole number or a string. The reward is 1 if the completion states it, as in "answer: 84", else 0.',
  'split: "test" holds a problem out. Without any, one problem in five is held out by a hash of its cluster.',
  'cluster: similar problems share one, so that all of them are on one side of the split.',
  'Other fields, such as this one, are ignored.',
];

function examples(): StarterProblem[] {
  const pairs = Array.from({ length: 90 }, (_, i) => ({ x: 5 + 5 * (i % 10), y: 2 + Math.floor(i / 10) }));
  return pairs.map(({ x, y }, i) => ({
    prompt: `What is ${x} + ${y}?\n`,
    answer: x + y,
    split: (x + y) % 7 === 0 ? 'test' : 'train',
    cluster: `${x}+${y}`,
    ...(comments[i] !== undefined && { comment: comments[i] }),
  }));
}

/** @param form the format of the file, given by its extension. */
function starterProblems(form: '.jsonl' | '.csv'): string {
  if (form === '.jsonl')
    return examples()
      .map((problem) => `${JSON.stringify(problem)}\n`)
      .join('');
  const columns = ['prompt', 'answer', 'split', 'cluster', 'comment'] as const;
  const cell = (value: string | number = '') =>
    /[",\n]/.test(`${value}`) ? `"${`${value}`.replaceAll('"', '""')}"` : value;
  const rows = examples().map((problem) => columns.map((column) => cell(problem[column])));
  return [columns, ...rows].map((row) => `${row.join(',')}\n`).join('');
}

/** A task that the built-in model learns in half a minute. @param typed TypeScript instead of JavaScript. */
function starterTask(typed: boolean): string {
  const only = (text: string) => (typed ? text : '');
  return `// A task: where problems come from, how they are asked, and how answers are rewarded.
// Change one part at a time and run:
//
//     tinyzero train --task THIS-FILE
//
// It is checked on a few problems before a model is opened. Everything about tasks: docs/tasks.md of the tinyzero package.
import { defineTask, parseAnswer } from 'tinyzero';

// A problem is plain data: it is written into the run's files as JSON.
${only(`interface Problem {
  readonly x: number;
  readonly y: number;
}

`)}const problems${only(': readonly Problem[]')} = Array.from({ length: 12 * 20 }, (_, i) => ({
  x: 5 + 5 * (i % 12),
  y: 2 + Math.floor(i / 12),
}));

// Held-out problems are never trained on. A rule that needs no random numbers makes every run agree on them.
const isHeldOut = ({ x, y }${only(': Problem')}) => (x + y) % 7 === 0;
const training = problems.filter((problem) => !isHeldOut(problem));

export default defineTask${only('<Problem>')}({
  // Shown in reports.
  name: 'my task',

  // Draws n training problems. All randomness comes from \`random\` (uniform, int, pick, shuffle, normal): never Math.random.
  problems: (random, n) => Array.from({ length: n }, () => random.pick(training)),

  // Up to n problems for testing.
  heldOut: (random, n) => random.shuffle(problems.filter(isHeldOut)).slice(0, n),

  // What the model is asked. The built-in model can spell only "What is a + b?" and "What is a × b?".
  prompt: ({ x, y }) => \`What is \${x} + \${y}?\\n\`,

  // From 0 to 1. \`exact\` is what accuracy counts, \`parsed\` whether an answer could be read, \`parts\` are numbers of your own.
  // Must accept any text, even an empty one. Partial credit helps if no answer is correct at first.
  reward: (completion, { x, y }) => {
    const { value } = parseAnswer(completion); // of the last "answer: 84"
    const exact = value === x + y;
    return { reward: exact ? 1 : 0, exact, parsed: value !== undefined, parts: {} };
  },

  // Problems of one cluster stay on one side of the split and count once in the statistics: 5 + 10 is 10 + 5.
  cluster: ({ x, y }) => [x, y].sort((a, b) => a - b).join('+'),

  // A correct completion, for the reward of the best constant answer.
  solution: ({ x, y }) => \`answer: \${x + y}\`,
});
`;
}
