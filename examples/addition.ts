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

// Sums that the built-in model met in pre-training, where it mostly guessed: 5..120 in fives and 2..48.
const sums: readonly Sum[] = Array.from({ length: 24 * 47 }, (_, i) => ({
  x: 5 + 5 * (i % 24),
  y: 2 + Math.floor(i / 24),
}));
// A rule, so that every run and every evaluation holds out the same.
const isHeldOut = ({ x, y }: Sum) => (x + y) % 7 === 0;
const training = sums.filter((sum) => !isHeldOut(sum));

export default defineTask<Sum>({
  name: 'addition',
  problems: (random, n) => Array.from({ length: n }, () => random.pick(training)),
  heldOut: (random, n) => random.shuffle(sums.filter(isHeldOut)).slice(0, n),
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
