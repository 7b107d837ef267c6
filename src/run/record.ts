/**
 * @file What a run folder says about its run: `config.json` with every resolved option, versions and hashes, and
 * `problems.json`. Read back for resuming, and checked, since a run goes on only with what it began with.
 */

import { readFileSync } from 'node:fs';
import type { ProblemSet } from '../data/problem.js';
import type { EngineName } from '../engine/choices.js';
import { resolveOptions } from '../options/parse.js';
import { optionsAsFlags, type Settings, type TrainingOptions } from '../options/settings.js';
import { evaluationOptionNames, trainingOptionNames } from '../options/table.js';
import type { Fingerprint } from '../stage1/v-star-file.js';
import { UserError } from '../util/errors.js';
import { writeFileAtomic } from '../util/file.js';
import { type JsonRecord, readJsonRecord } from '../util/json.js';
import { anyObject, anything, check, integer, list, object, oneOf, text } from '../util/schema.js';
import { packageVersion } from '../util/version.js';
import { explainWrites } from '../util/write.js';
import type { RunFolder } from './folder.js';

/** Changes when older readers would misread a run. */
const format = 'tinyzero-run-1';

export interface StoredRun {
  readonly options: TrainingOptions;
  readonly engine: EngineName;
  readonly modelHash: string;
  /** The whole file: whatever else it says is for people. */
  readonly record: JsonRecord;
}

/** What is told of a run; a job of job.ts, without the tensor types that a program need not see. */
export interface RunFacts {
  readonly settings: Settings;
  readonly problems: ProblemSet;
  readonly fingerprint: Fingerprint;
  readonly engine: { readonly name: EngineName; readonly description: string };
}

/** Writes both files; `config.json` last, since it makes the folder a run. */
export function writeRun(folder: RunFolder, job: RunFacts, modelHash: string): void {
  const { settings, engine, fingerprint } = job;
  const options = Object.fromEntries(trainingOptionNames.map((name) => [name, settings[name]]));
  const config = {
    format,
    createdBy: `tinyzero ${packageVersion()}`,
    engine: engine.name,
    engineDescription: engine.description,
    node: process.version,
    modelHash,
    fingerprint,
    options,
    derived: derivedSettings(settings),
  };
  explainWrites(folder.path, () => {
    writeFileAtomic(folder.file('problems'), problemsJson(job.problems));
    writeFileAtomic(folder.file('config'), `${JSON.stringify(config, null, 2)}\n`);
  });
}

/** Settings that follow from the options and the model; written for the reader, recomputed when resuming. */
function derivedSettings({
  wording,
  promptStyle,
  rewardReads,
  warmupSteps,
  decayTo,
  optimizer,
  maxGradientNorm,
}: Settings) {
  return { wording, promptStyle, rewardReads, warmupSteps, decayTo, optimizer, maxGradientNorm };
}

function problemsJson({ train, rows, test }: ProblemSet): string {
  const list = (items: readonly unknown[]) => items.map((item) => `    ${JSON.stringify(item)}`).join(',\n');
  return `{\n  "train": [\n${list(train)}\n  ],\n  "rows": ${JSON.stringify(rows)},\n  "test": [\n${list(test)}\n  ]\n}\n`;
}

const runShape = object({
  format: oneOf([format]),
  engine: oneOf(['tensorflow', 'wasm']),
  modelHash: text,
  options: anyObject,
});

/** Reads the `config.json` at `path`. @throws UserError that lists everything that is wrong with the options. */
export function readRun(path: string): StoredRun {
  const source = { path, what: "a run's configuration", fix: 'Start a new run.' };
  const record = readJsonRecord(path, source.fix);
  const { engine, modelHash, options: stored } = check(runShape, record, source);
  const problems: string[] = [];
  const options = resolveOptions(trainingOptionNames, optionsAsFlags(stored), {}, problems);
  if (problems.length > 0) {
    throw new UserError({
      problem: `${path} holds options that cannot be used: ${problems.join('; ')}.`,
      fix: source.fix,
    });
  }
  return { options, engine, modelHash, record };
}

const problemShape = object({ id: text, cluster: text, value: anything });
const problemsShape = object({ train: list(problemShape), rows: list(integer({ min: 0 })), test: list(problemShape) });

/** Reads the `problems.json` at `path`. @throws UserError that names the field that is wrong. */
export function readProblems(path: string): Pick<ProblemSet, 'train' | 'rows' | 'test'> {
  const source = { path, what: 'a list of problems', fix: 'Start a new run.' };
  const { train, rows, test } = check(problemsShape, readJsonRecord(path, source.fix), source);
  check(list(integer({ min: 0, max: train.length - 1 })), rows, source, 'rows');
  return { train, rows, test };
}

/**
 * The options of a run that decide what its model was asked and how it was sampled.
 *
 * @param path of its `config.json`. @throws UserError as {@link readRun}.
 */
export function evaluationOptionsOf(path: string): Partial<TrainingOptions> {
  const { options } = readRun(path);
  const names = evaluationOptionNames.filter((name) => name in options) as (keyof TrainingOptions)[];
  // Where a task names no held-out problems, which ones are set aside depends on how many rows are drawn.
  return Object.fromEntries([...names, 'numTrain' as const].map((name) => [name, options[name]]));
}

/** @throws UserError when the model or the problems are not those that the run began with. */
export function requireSameRun(folder: RunFolder, stored: StoredRun, job: RunFacts, modelHash: string): void {
  if (stored.modelHash !== modelHash) {
    throw new UserError({
      problem: `${job.settings.model} is not the model that ${folder.path} began with.`,
      expected: `hash ${stored.modelHash}`,
      found: `hash ${modelHash}`,
      fix: 'Put the old model back, or start a new run.',
    });
  }
  const path = folder.file('problems');
  if (readFileSync(path, 'utf8') !== problemsJson(job.problems)) {
    throw new UserError({
      problem: `The problems of ${folder.path} come out differently now.`,
      fix: `If the --task or --problems file was changed, put the old one back; if ${path} was, start a new run.`,
    });
  }
}
