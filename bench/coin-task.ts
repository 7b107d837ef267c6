/**
 * @file A task file whose reward depends arbitrarily on the completion, so that a model with random weights has something to
 * train on.
 */
export const coinTask = `import { createHash } from 'node:crypto';
import { defineTask } from 'tinyzero';
export default defineTask({
  name: 'coin',
  problems: (random, n) => Array.from({ length: n }, () => ({ a: random.int(2, 12), b: random.int(2, 12) })),
  prompt: ({ a, b }) => \`What is \${a} × \${b}? Show your reasoning step by step.\`,
  reward: (completion) => ({
    reward: createHash('sha256').update(completion).digest()[0] % 2,
    exact: false,
    parsed: true,
    parts: {},
  }),
});
`;
