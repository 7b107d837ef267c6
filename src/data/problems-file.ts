/**
 * @file `--problems`: a file of JSON lines, each a prompt with its answer, as a task. The answer that a completion states is
 * compared with the one in the file; no code of the user's runs.
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
  /** As text, whole numbers in plain digits. */
  readonly answer: string;
}

export interface LoadedProblems {
  readonly task: Task<FileProblem>;
  /** SHA-256 of the file, in hexadecimal. */
  readonly hash: string;
}

const example = '{"prompt": "What is 7 × 12?", "answer": 84}';

/** One in so many clusters is for testing where the file does not say. */
const testEvery = 5;

/** @throws UserError that names the line of whatever is wrong, or says what the file lacks. */
export function loadProblemsFile(path: string): LoadedProblems {
  const bytes = readRegularFile(path);
  const lines = readLines(path, decodeText(path, bytes));
  const { train, test } = split(path, lines);
  const clusterOf = new Map(lines.map(({ problem, cluster }) => [problem.prompt, cluster]));
  const task = defineTask<FileProblem>({
    name: `problems of ${basename(path)}`,
    // Every problem once before any comes again.
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

/** The answer that a completion states, in the form in which answers are compared; undefined where it states none. */
function statedAnswer(completion: string, answer: string): string | undefined {
  if (wholeNumber.test(answer)) {
    const { value } = parseNaturalAnswer(completion);
    return value === undefined ? undefined : String(value);
  }
  const last = [...completion.matchAll(/(?<![\p{L}\p{N}_])answer:[ \t]*(.*)/giu)].at(-1)?.[1];
  return last === undefined || normalized(last) === '' ? undefined : normalized(last);
}

/** Capitals, spaces, and the full stop at the end make no difference. */
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
    if (earlier !== undefined) throw refused(line, `it has the prompt of ${earlier} again, ${quote(prompt)}`);
    seen.set(prompt, line.where);
    return read;
  });
}

function readLine(line: JsonLine): FileLine {
  const { prompt, answer, split: part, cluster } = line.record;
  if (typeof prompt !== 'string' || prompt.trim() === '') {
    throw refused(line, `\`prompt\` must be a text that is not empty, not ${quote(prompt)}`);
  }
  const isAnswer = (typeof answer === 'string' && answer.trim() !== '') || Number.isSafeInteger(answer);
  if (!isAnswer) throw refused(line, `\`answer\` must be a text or a whole number, not ${quote(answer)}`);
  if (part !== undefined && part !== 'train' && part !== 'test') {
    throw refused(line, `\`split\` must be "train" or "test", not ${quote(part)}`);
  }
  if (cluster !== undefined && (typeof cluster !== 'string' || cluster === '')) {
    throw refused(line, `\`cluster\` must be a text that is not empty, not ${quote(cluster)}`);
  }
  return { problem: { prompt, answer: plain(String(answer)) }, cluster: cluster ?? prompt, split: part };
}

/** `1,234` and `+84` as a completion's answers are read. */
function plain(answer: string): string {
  const { value } = parseAnswer(`answer: ${answer.trim()}`);
  return value === undefined ? answer.trim() : String(value);
}

function refused({ where }: JsonLine, reason: string): UserError {
  const problem = `${where.charAt(0).toUpperCase()}${where.slice(1)} cannot be used: ${reason}.`;
  return new UserError({ problem, fix: `A line looks like ${example}` });
}

/**
 * Problems to train on and to test on. Where no line says which it is, a hash of its cluster's name does: the same in every
 * run, whatever the seed, and the same for the other lines when some are added.
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
        ? 'Leave out "split": "test" where a problem is for training.'
        : `Without "split": "test" in any line, one in ${testEvery} is chosen by a hash of its prompt: add lines, or say it.`,
    });
  }
  const trained = new Set(train.map(({ cluster }) => cluster));
  const both = test.find(({ cluster }) => trained.has(cluster));
  if (both !== undefined) {
    throw new UserError({
      problem: `${path} has problems of cluster ${quote(both.cluster)} both for training and for testing.`,
      found: `${quote(both.problem.prompt)} for testing`,
      fix: 'Problems that are alike belong on one side.',
    });
  }
  return { train: train.map(({ problem }) => problem), test: test.map(({ problem }) => problem) };
}

function hashOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE();
}
