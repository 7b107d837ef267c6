/** The shipped task of word problems: its held-out stories are not trained on, and its solutions and worked lines are right. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { loadTaskFile } from '../../src/data/task-file.js';
import * as tinyzero from '../../src/index.js';
import { keyedRandom } from '../../src/util/random.js';

const { task } = await loadTaskFile('examples/word-problems.ts', { ...tinyzero });
const numbers = ['two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];

/** A problem's story without its name, thing and numbers. */
function storyOf(prompt: string): string {
  return prompt
    .replace(/\b(Tom|Anna|Ben|Lucy|Sam|Mary|Jack|Emma)\b/g, 'NAME')
    .replace(/\b(apples|books|cards|coins|cups|eggs|pens|toys)\b/g, 'THINGS')
    .replace(new RegExp(`\\b(${numbers.join('|')})\\b`, 'gi'), 'NUMBER');
}

/** The last number of a text whose two steps are true: `7 + 2 = 9. 9 - 5 = 4. answer: 4`. */
function checkedAnswer(text: string): number {
  const steps = [...text.matchAll(/(\d+) ([+×-]) (\d+) = (\d+)\./g)];
  assert.equal(steps.length, 2, text);
  for (const [, left, sign, right, result] of steps) {
    const [x, y] = [Number(left), Number(right)];
    assert.equal(sign === '+' ? x + y : sign === '-' ? x - y : x * y, Number(result), text);
  }
  assert.equal(steps[1]![1], steps[0]![4], 'the second step starts from the first');
  const answer = /answer: (\d+)$/.exec(text)![1];
  assert.equal(answer, steps[1]![4], text);
  return Number(answer);
}

const drawn = {
  trained: task.problems(keyedRandom('trained'), 400),
  heldOut: task.heldOut!(keyedRandom('held out'), 400),
};
const promptOf = (problem: unknown) => task.prompt!(problem);

test('no held-out story is trained on, and all eight are drawn', () => {
  const trained = new Set(drawn.trained.map((problem) => storyOf(promptOf(problem))));
  const heldOut = new Set(drawn.heldOut.map((problem) => storyOf(promptOf(problem))));
  assert.equal(trained.size, 12);
  assert.equal(heldOut.size, 8);
  for (const story of heldOut) assert.ok(!trained.has(story), story);
});

test('every solution computes its answer from the numbers of its story and earns the reward', () => {
  for (const problem of [...drawn.trained, ...drawn.heldOut]) {
    const solution = task.solution!(problem);
    const answer = checkedAnswer(solution);
    const told = [
      ...promptOf(problem)
        .toLowerCase()
        .matchAll(new RegExp(`\\b(${numbers.join('|')})\\b`, 'g')),
    ];
    const used = [...solution.matchAll(/\d+/g)].map(Number).slice(0, 2);
    for (const number of used)
      assert.ok(
        told.some(([word]) => numbers.indexOf(word) + 2 === number),
        solution,
      );
    for (const [completion, reward] of [
      [solution, 1],
      [`I think it is ${answer}.`, 1],
      [`answer: ${answer + 1}`, 0],
      ['no number', 0],
    ] as const) {
      const score = task.reward(completion, problem, { finished: true });
      assert.equal(typeof score === 'object' && 'reward' in score ? score.reward : score, reward, completion);
    }
  }
});

test('the worked lines tell trained stories and are right', () => {
  const trained = new Set(drawn.trained.map((problem) => storyOf(promptOf(problem))));
  const lines = readFileSync('examples/word-problems.jsonl', 'utf8').trim().split('\n');
  assert.ok(lines.length >= 100);
  for (const line of lines) {
    const { prompt, completion } = JSON.parse(line) as { prompt: string; completion: string };
    assert.ok(trained.has(storyOf(prompt)), prompt);
    checkedAnswer(completion);
  }
});
