/** @file The file that `tinyzero init task` writes: a task that the built-in model learns in half a minute, every part explained. */

/** @param typed TypeScript instead of JavaScript. */
export function starterTask(typed: boolean): string {
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
  // Must accept any text, even the empty one. Partial credit helps where no answer is right at first.
  reward: (completion, { x, y }) => {
    const { value } = parseAnswer(completion); // of the last "answer: 84"
    const exact = value === x + y;
    return { reward: exact ? 1 : 0, exact, parsed: value !== undefined, parts: {} };
  },

  // Problems of one cluster stay on one side of the split and count once in the statistics: 5 + 10 is 10 + 5.
  cluster: ({ x, y }) => [x, y].sort((a, b) => a - b).join('+'),

  // A right completion, for the reward of the best constant answer.
  solution: ({ x, y }) => \`answer: \${x + y}\`,
});
`;
}
