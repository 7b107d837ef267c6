/**
 * @file `--problems`: turns a JSON Lines file of prompts and answers into a task. The answer of a completion is compared with
 * the one in the file; no user code runs.
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { parseAnswer, parseNaturalAnswer } from '../reward/answer.js';
import { UserError } from '../util/errors.js';
import { readRegularFile } from '../util/file.js';
import { quote } from '../util/json.js';
import { decodeText, type JsonLine, parseJsonLines } from '../util/json-lines.js';
import { defineTask, type Task } from './task.js';

/** One line of the file. */
export interface FileProblem {
  readonly prompt: string;
  /** The answer as text; whole numbers in plain digits. */
  readonly answer: string;
}

export interface LoadedProblems {
  readonly task: Task<FileProblem>;
  /** SHA-256 of the file, in hexadecimal. */
  readonly hash: string;
}

const example = '{"prompt": "What is 7 × 12?", "answer": 84}';

/** One in this many clusters is used for testing if the file does not say. */
const testEvery = 5;

/** Loads a problems file. @throws UserError that names the invalid line, or says what the file lacks. */
export function loadProblemsFile(path: string): LoadedProblems {
  const bytes = readRegularFile(path);
  const lines = readLines(path, decodeText(path, bytes));
  const { train, test } = split(path, lines);
  const clusterOf = new Map(lines.map(({ problem, cluster }) => [problem.prompt, cluster]));
  const task = defineTask<FileProblem>({
    name: `problems of ${basename(path)}`,
    // Each problem once before any is repeated.
    problems: (random, n) => {
      const dealt: FileProblem[] = [];
      while (dealt.length < n) dealt.push(...random.shuffle(train).slice(0, n - dealt.length));
      return dealt;
    },
    heldOut: (random, n) => {
      const chosen = new Set(random.shuffle(test).slice(0, n));
      return test.filter((problem) => chosen.has(problem));
    },
    prompt: ({ prompt }) => prompt,
    cluster: ({ prompt }) => clusterOf.get(prompt)!,
    solution: ({ answer }) => `answer: ${answer}`,
    reward: (completion, { answer }, { finished }) => {
      const stated = statedAnswer(completion, answer);
      const exact = finished && stated === normalized(answer);
      return { reward: Number(exact), exact, parsed: stated !== undefined, parts: {} };
    },
  });
  return { task, hash: createHash('sha256').update(bytes).digest('hex') };
}

const wholeNumber = /^-?\d+$/;

/** The answer of a completion, normalised for comparison; undefined if it has none. */
function statedAnswer(completion: string, answer: string): string | undefined {
  if (wholeNumber.test(answer)) {
    const { value } = parseNaturalAnswer(completion);
    return value === undefined ? undefined : String(value);
  }
  const last = [...completion.matchAll(/(?<![\p{L}\p{N}_])answer:[ \t]*(.*)/giu)].at(-1)?.[1];
  return last === undefined || normalized(last) === '' ? undefined : normalized(last);
}

/** Ignores case, spaces and a final full stop. */
function normalized(answer: string): string {
  return answer.normalize('NFKC').toLowerCase().replace(/\s+/g, ' ').trim().replace(/\.$/, '').trim();
}

interface FileLine {
  readonly problem: FileProblem;
  readonly cluster: string;
  readonly split: 'train' | 'test' | undefined;
}

function readLines(path: string, text: string): FileLine[] {
  const seen = new Map<string, string>();
  return parseJsonLines(path, text, example).map((line) => {
    const read = readLine(line);
    const { prompt } = read.problem;
    const earlier = seen.get(prompt);
    if (earlier !== undefined) throw refused(line, `it repeats the prompt of ${earlier}, ${quote(prompt)}`);
    seen.set(prompt, line.where);
    return read;
  });
}

function readLine(line: JsonLine): FileLine {
  const { prompt, answer, split: part, cluster } = line.record;
  if (typeof prompt !== 'string' || prompt.trim() === '') {
    throw refused(line, `\`prompt\` must be a nonempty string, not ${quote(prompt)}`);
  }
  const isAnswer = (typeof answer === 'string' && answer.trim() !== '') || Number.isSafeInteger(answer);
  if (!isAnswer) throw refused(line, `\`answer\` must be a string or a whole number, not ${quote(answer)}`);
  if (part !== undefined && part !== 'train' && part !== 'test') {
    throw refused(line, `\`split\` must be "train" or "test", not ${quote(part)}`);
  }
  if (cluster !== undefined && (typeof cluster !== 'string' || cluster === '')) {
    throw refused(line, `\`cluster\` must be a nonempty string, not ${quote(cluster)}`);
  }
  return { problem: { prompt, answer: plain(String(answer)) }, cluster: cluster ?? prompt, split: part };
}

/** Reads `1,234` and `+84` in the same way as answers in completions. */
function plain(answer: string): string {
  const { value } = parseAnswer(`answer: ${answer.trim()}`);
  return value === undefined ? answer.trim() : String(value);
}

function refused({ where }: JsonLine, reason: string): UserError {
  const problem = `${where.charAt(0).toUpperCase()}${where.slice(1)} cannot be used: ${reason}.`;
  return new UserError({ problem, fix: `Example of a line: ${example}` });
}

/**
 * Splits the problems into training and test problems. If no line has a `split`, a hash of the cluster's name decides, so the
 * split does not depend on the seed, and adding lines does not move the others.
 */
function split(path: string, lines: readonly FileLine[]): { train: FileProblem[]; test: FileProblem[] } {
  const told = lines.some((line) => line.split === 'test');
  const isTest = (line: FileLine) => (told ? line.split === 'test' : hashOf(line.cluster) % testEvery === 0);
  const test = lines.filter((line) => isTest(line));
  const train = lines.filter((line) => !isTest(line));
  if (train.length === 0 || test.length === 0) {
    throw new UserError({
      problem: `${path} has too few problems.`,
      expected: 'at least one to train on and one to test on',
      found: `${train.length} and ${test.length} in ${lines.length} lines`,
      fix: told
        ? 'Remove "split": "test" from some of the lines.'
        : `Without "split": "test", about one line in ${testEvery} is chosen by a hash of its prompt: add lines, or set it.`,
    });
  }
  const trained = new Set(train.map(({ cluster }) => cluster));
  const both = test.find(({ cluster }) => trained.has(cluster));
  if (both !== undefined) {
    throw new UserError({
      problem: `${path} has problems of cluster ${quote(both.cluster)} both for training and for testing.`,
      found: `${quote(both.problem.prompt)} for testing`,
      fix: 'All problems of a cluster must have the same split.',
    });
  }
  return { train: train.map(({ problem }) => problem), test: test.map(({ problem }) => problem) };
}

function hashOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE();
}
