/** @file The file that `tinyzero init problems` writes: sums that the built-in model can be asked, with comments in a field of their own. */

interface StarterProblem {
  readonly prompt: string;
  readonly answer: number;
  readonly split: 'train' | 'test';
  readonly cluster: string;
  readonly comment?: string;
}

/** What the first lines explain. */
const comments = [
  'One problem a line. The built-in model can spell only sums and products; other models are asked any text.',
  'prompt is what the model is asked, as it stands. It should say in which form the answer is wanted.',
  'answer is a whole number or a text. The reward is 1 where the completion states it, as in "answer: 84", else 0.',
  'split: "test" holds a problem out. Without any, one problem in five is held out by a hash of its cluster.',
  'cluster: problems that are alike share one, so that they stay on one side of the split.',
  'Any other field, such as this one, is passed over.',
];

function problems(): StarterProblem[] {
  const pairs = Array.from({ length: 90 }, (_, i) => ({ x: 5 + 5 * (i % 10), y: 2 + Math.floor(i / 10) }));
  return pairs.map(({ x, y }, i) => ({
    prompt: `What is ${x} + ${y}?\n`,
    answer: x + y,
    split: (x + y) % 7 === 0 ? 'test' : 'train',
    cluster: `${x}+${y}`,
    ...(comments[i] !== undefined && { comment: comments[i] }),
  }));
}

/** @param form of the file, by its ending. */
export function starterProblems(form: '.jsonl' | '.csv'): string {
  if (form === '.jsonl')
    return problems()
      .map((problem) => `${JSON.stringify(problem)}\n`)
      .join('');
  const columns = ['prompt', 'answer', 'split', 'cluster', 'comment'] as const;
  const cell = (value: string | number = '') =>
    /[",\n]/.test(`${value}`) ? `"${`${value}`.replaceAll('"', '""')}"` : value;
  const rows = problems().map((problem) => columns.map((column) => cell(problem[column])));
  return [columns, ...rows].map((row) => `${row.join(',')}\n`).join('');
}
