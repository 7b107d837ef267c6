/**
 * @file A task in a few lines: sums that the built-in model can spell.
 *
 *     tinyzero train --task examples/addition.ts
 */
import { defineTask, parseAnswer } from 'tinyzero';

interface Sum {
  readonly x: number;
  readonly y: number;
}

export default defineTask<Sum>({
  name: 'addition',
  // Of the sums that the built-in model met in pre-training, where it mostly guessed.
  problems: (random, n) => Array.from({ length: n }, () => ({ x: 5 * random.int(1, 24), y: random.int(2, 48) })),
  // The built-in model knows no other form: two numbers, a plus between spaces, a question mark and the line's end.
  prompt: ({ x, y }) => `What is ${x} + ${y}?\n`,
  reward: (completion, { x, y }) => {
    const { value } = parseAnswer(completion);
    const exact = value === x + y;
    return { reward: Number(exact), exact, parsed: value !== undefined, parts: {} };
  },
  // 35 + 40 and 40 + 35 are one problem to whoever has learned it.
  cluster: ({ x, y }) => [x, y].sort((a, b) => a - b).join('+'),
  solution: ({ x, y }) => `answer: ${x + y}`,
});
