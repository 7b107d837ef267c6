/**
 * @file Word problems of two steps. The held-out problems use story templates that are never trained on, which tests whether
 * the steps were learned, not the stories. Numbers are small and spelled out, so that a small instruct model can read them:
 *
 *     tinyzero train --task examples/word-problems.ts --model HuggingFaceTB/SmolLM2-135M-Instruct
 */
import { defineTask, parseAnswer, type Random } from 'tinyzero';

interface WordProblem {
  readonly plan: Plan;
  /** Place in the stories of the plan. */
  readonly story: number;
  readonly name: string;
  readonly thing: string;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

/** The two steps behind a story. */
type Plan = 'a + b - c' | 'a × b + c' | 'a × b - c' | '(a + b) × c';

const plans: Readonly<Record<Plan, (problem: WordProblem) => number>> = {
  'a + b - c': ({ a, b, c }) => a + b - c,
  'a × b + c': ({ a, b, c }) => a * b + c,
  'a × b - c': ({ a, b, c }) => a * b - c,
  '(a + b) × c': ({ a, b, c }) => (a + b) * c,
};

type Story = (name: string, things: string, a: string, b: string, c: string) => string;

/** The last two stories of each plan are held out. */
const stories: Readonly<Record<Plan, readonly Story[]>> = {
  'a + b - c': [
    (name, things, a, b, c) =>
      `${name} has ${a} ${things}. A friend gives ${name} ${b} more. Then ${name} loses ${c}. How many ${things} does ${name} have now?`,
    (name, things, a, b, c) =>
      `${name} finds ${a} ${things} on Monday and ${b} ${things} on Tuesday. On Wednesday ${name} gives away ${c}. How many ${things} are left?`,
    (name, things, a, b, c) =>
      `There are ${a} ${things} on a table. ${name} puts ${b} more on it and takes ${c} away. How many ${things} are on the table?`,
    (name, things, a, b, c) =>
      `${name} packs ${a} ${things} in the morning and ${b} in the evening. ${c} of them break on the way. How many ${things} arrive?`,
    (name, things, a, b, c) =>
      `A shop has ${a} ${things}. A truck brings ${b} more, and ${name} buys ${c}. How many ${things} does the shop have then?`,
  ],
  'a × b + c': [
    (name, things, a, b, c) =>
      `${name} has ${a} boxes with ${b} ${things} in each box, and ${c} more ${things}. How many ${things} does ${name} have in total?`,
    (name, things, a, b, c) =>
      `${name} buys ${a} packs of ${b} ${things}. A friend gives ${name} ${c} more. How many ${things} does ${name} have?`,
    (name, things, a, b, c) =>
      `There are ${a} rows of ${b} ${things} in a room, and ${c} ${things} by the door. How many ${things} does ${name} count?`,
    (name, things, a, b, c) =>
      `${a} children bring ${b} ${things} each, and ${name} brings ${c}. How many ${things} do they have together?`,
    (name, things, a, b, c) =>
      `${name} fills ${a} shelves with ${b} ${things} each and keeps ${c} ${things} in a bag. How many ${things} are there in all?`,
  ],
  'a × b - c': [
    (name, things, a, b, c) =>
      `${name} has ${a} bags with ${b} ${things} in each bag. ${name} gives away ${c} ${things}. How many ${things} are left?`,
    (name, things, a, b, c) =>
      `${name} buys ${a} packs of ${b} ${things} and loses ${c} of them. How many ${things} does ${name} have now?`,
    (name, things, a, b, c) =>
      `There are ${a} plates with ${b} ${things} on each plate. ${name} takes ${c} ${things}. How many ${things} remain?`,
    (name, things, a, b, c) =>
      `${a} friends bring ${b} ${things} each to a party. At the end ${c} are used up. How many ${things} does ${name} find?`,
    (name, things, a, b, c) =>
      `${name} makes ${b} ${things} a day for ${a} days and sells ${c}. How many ${things} does ${name} keep?`,
  ],
  '(a + b) × c': [
    (name, things, a, b, c) =>
      `A box holds ${a} red and ${b} blue ${things}. ${name} has ${c} such boxes. How many ${things} does ${name} have?`,
    (name, things, a, b, c) =>
      `Each day ${name} finds ${a} ${things} in the morning and ${b} in the evening. How many ${things} does ${name} find in ${c} days?`,
    (name, things, a, b, c) =>
      `${name} gives ${a} big and ${b} small ${things} to each of ${c} friends. How many ${things} does ${name} give?`,
    (name, things, a, b, c) =>
      `${c} rooms have ${a} old and ${b} new ${things} each. How many ${things} does ${name} see in all rooms?`,
    (name, things, a, b, c) =>
      `A pack has ${a} ${things} and ${b} more for free. ${name} buys ${c} packs. How many ${things} does ${name} get?`,
  ],
};
const heldOutStories = 2;

const names = ['Tom', 'Anna', 'Ben', 'Lucy', 'Sam', 'Mary', 'Jack', 'Emma'];
const things = ['apples', 'books', 'cards', 'coins', 'cups', 'eggs', 'pens', 'toys'];
const words = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'];

const solve = (problem: WordProblem) => plans[problem.plan](problem);

/** Capitalises the first letter and every one after a full stop. */
const capitalized = (text: string) => text.replace(/(^|[.] )[a-z]/g, (start) => start.toUpperCase());

function draw(random: Random, heldOut: boolean): WordProblem {
  for (;;) {
    const plan = random.pick(Object.keys(plans) as Plan[]);
    const trained = stories[plan].length - heldOutStories;
    const story = heldOut ? random.int(trained, stories[plan].length - 1) : random.int(0, trained - 1);
    const problem: WordProblem = {
      ...{ plan, story },
      name: random.pick(names),
      thing: random.pick(things),
      a: random.int(2, 9),
      b: random.int(2, 9),
      c: random.int(2, 5),
    };
    // Something is left over.
    if (solve(problem) > 0) return problem;
  }
}

export default defineTask<WordProblem>({
  name: 'word-problems',
  problems: (random, n) => Array.from({ length: n }, () => draw(random, false)),
  heldOut: (random, n) => Array.from({ length: n }, () => draw(random, true)),
  prompt: ({ plan, story, name, thing, a, b, c }) => {
    const text = stories[plan][story]!(name, thing, words[a]!, words[b]!, words[c]!);
    return `${capitalized(text)} Work in two short steps, then end with "answer: N".`;
  },
  reward: (completion, problem) => {
    // Small models forget the form more often than the answer: without it the last number counts.
    const last = completion.match(/\d+/g)?.at(-1);
    const value = parseAnswer(completion).value ?? (last === undefined ? undefined : Number(last));
    const exact = value === solve(problem);
    return { reward: Number(exact), exact, parsed: value !== undefined, parts: {} };
  },
  // Problems of one template stand or fall together.
  cluster: ({ plan, story }) => `${plan}, story ${story + 1}`,
  solution: (problem) => {
    const { plan, a, b, c } = problem;
    const steps: Readonly<Record<Plan, string>> = {
      'a + b - c': `${a} + ${b} = ${a + b}. ${a + b} - ${c} = ${a + b - c}.`,
      'a × b + c': `${a} × ${b} = ${a * b}. ${a * b} + ${c} = ${a * b + c}.`,
      'a × b - c': `${a} × ${b} = ${a * b}. ${a * b} - ${c} = ${a * b - c}.`,
      '(a + b) × c': `${a} + ${b} = ${a + b}. ${a + b} × ${c} = ${(a + b) * c}.`,
    };
    return `${steps[plan]} answer: ${solve(problem)}`;
  },
});
