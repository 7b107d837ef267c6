/**
 * @file `--problems`: turns files of prompts and answers (JSON lines, CSV or Parquet) into a task. The answer of a completion is
 * compared with the one in the file; no user code runs.
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { parseNaturalAnswer } from '../reward/answer.js';
import { UserError } from '../util/errors.js';
import { readRegularFile } from '../util/file.js';
import { quote } from '../util/json.js';
import type { ColumnMap } from './column-map.js';
import { type FileProblem, type ProblemRow, readProblemRows } from './problem-rows.js';
import { defineTask, type Task } from './task.js';

/** Where problems come from: a file, or the files of a dataset. */
export interface ProblemSource {
  /** Of the file or the dataset. */
  readonly name: string;
  readonly files: readonly {
    readonly path: string;
    /** For errors. */
    readonly name: string;
    /** What all of its rows are for; undefined if the rows say. */
    readonly part: 'train' | 'test' | undefined;
  }[];
  readonly map: ColumnMap;
  /** A dataset is somebody else's: its rows may repeat, and only the columns of prompt and answer are known by their names. */
  readonly isDataset: boolean;
}

export interface LoadedProblems {
  readonly task: Task<FileProblem>;
  /** SHA-256 of the content, in hexadecimal. */
  readonly hash: string;
  /** For the user, in full sentences. */
  readonly notes: readonly string[];
}

/** One in this many clusters is used for testing if the file does not say. */
const testEvery = 5;

/** The source of a file on disk. */
export function fileSource(path: string, map: ColumnMap = {}): ProblemSource {
  return { name: basename(path), files: [{ path, name: path, part: undefined }], map, isDataset: false };
}

/** Loads problems. @throws UserError that names the invalid line, or says what the source lacks. */
export async function loadProblems(source: ProblemSource): Promise<LoadedProblems> {
  const { rows: lines, notes } = await readProblemRows(source);
  const { train, test } = split(source.files.length === 1 ? source.files[0]!.name : source.name, lines);
  const clusterOf = new Map(lines.map(({ problem, cluster }) => [problem.prompt, cluster]));
  const task = defineTask<FileProblem>({
    name: `problems of ${source.name}`,
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
  return { task, hash: hashOfSource(source), notes };
}

/** Of a single file without a map, that of its bytes. */
function hashOfSource({ files, map, isDataset }: ProblemSource): string {
  const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex');
  const hashes = files.map(({ path, part }) => [sha256(readRegularFile(path, maxHashedBytes)), part ?? null] as const);
  if (!isDataset && Object.keys(map).length === 0) return hashes[0]![0];
  return sha256(JSON.stringify([hashes, map]));
}

/** A file of a dataset may be larger than one that is read whole otherwise. */
const maxHashedBytes = 2 ** 30;

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

/**
 * Splits the problems into training and test problems. If no line has a `split`, a hash of the cluster's name decides, so the
 * split does not depend on the seed, and adding lines does not move the others.
 */
function split(name: string, lines: readonly ProblemRow[]): { train: FileProblem[]; test: FileProblem[] } {
  const told = lines.some((line) => line.split === 'test');
  const isTest = (line: ProblemRow) => (told ? line.split === 'test' : hashOf(line.cluster) % testEvery === 0);
  const test = lines.filter((line) => isTest(line));
  const train = lines.filter((line) => !isTest(line));
  if (train.length === 0 || test.length === 0) {
    throw new UserError({
      problem: `${name} has too few problems.`,
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
      problem: `${name} has problems of cluster ${quote(both.cluster)} both for training and for testing.`,
      found: `${quote(both.problem.prompt)} for testing`,
      fix: 'All problems of a cluster must have the same split.',
    });
  }
  return { train: train.map(({ problem }) => problem), test: test.map(({ problem }) => problem) };
}

function hashOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE();
}
