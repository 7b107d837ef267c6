/**
 * @file The record of a run in its folder: `config.json` with all resolved options, versions and hashes, and
 * `problems.json`. Resuming reads and checks both, since a run continues only with the same model and problems.
 */
import { dirname } from 'node:path';
import type { ProblemSet } from '../data/problem.js';
import { engineNames, type RunEngine } from '../engine/choices.js';
import { configText } from '../options/config-file.js';
import { evaluationOptionNames, trainingOptionNames } from '../options/names.js';
import { optionsAsFlags, type Settings, type TrainingOptions } from '../options/settings.js';
import { resolveOptions } from '../options/spec.js';
import type { OptionName, OptionValues } from '../options/table.js';
import type { Fingerprint } from '../stage1/fingerprint.js';
import { checksumOf, checksumOfFile, requireSeal, sameChecksum, sealJson } from '../util/checksum.js';
import { UserError } from '../util/errors.js';
import { explainWrites, writeFileAtomic } from '../util/file.js';
import { type JsonRecord, readJsonRecord } from '../util/json.js';
import { hasKey } from '../util/keys.js';
import { packageVersion } from '../util/machine.js';
import { anyObject, anything, check, integer, list, object, oneOf, optional, text } from '../util/schema.js';
import { commandOfRun, type RunFolder } from './folder.js';

/** Incremented when older versions would misread a run. */
const format = 'tinyzero-run-2';

export interface StoredRun {
  readonly options: TrainingOptions;
  readonly engine: RunEngine;
  readonly modelHash: string;
  /** Of `problems.json`. */
  readonly problemsChecksum: string;
  /** The whole file; its other fields are for human readers. */
  readonly record: JsonRecord;
}

/** The parts of a job that the record contains. */
export interface RunFacts {
  readonly settings: Settings;
  readonly problems: ProblemSet;
  readonly fingerprint: Fingerprint;
  readonly engine: { readonly name: RunEngine; readonly description: string };
}

/** Writes both files, `config.json` last, since it makes the folder a run. */
export function writeRun(folder: RunFolder, job: RunFacts, modelHash: string): void {
  const { settings, engine, fingerprint } = job;
  const options = Object.fromEntries(trainingOptionNames.map((name) => [name, settings[name]]));
  const problems = problemsJson(job.problems);
  const config = {
    ...recordHead(format, engine, modelHash),
    problemsChecksum: checksumOf(problems).crc32,
    fingerprint,
    options,
    derived: derivedSettings(settings),
  };
  explainWrites(folder.path, () => {
    writeFileAtomic(folder.file('problems'), problems);
    writeFileAtomic(folder.file('repeat'), repeatText({ options, engine: engine.name }));
    writeFileAtomic(folder.file('config'), sealJson(`${JSON.stringify(config, null, 2)}\n`));
  });
}

/** The first fields of a record: what made the run, and where it started. */
export function recordHead(format: string, engine: RunFacts['engine'], modelHash: string) {
  return {
    format,
    createdBy: `tinyzero ${packageVersion()}`,
    engine: engine.name,
    engineDescription: engine.description,
    node: process.version,
    modelHash,
  };
}

function repeatText({ options, engine }: { readonly options: object; readonly engine: RunEngine }): string {
  const ofEngine = engine === 'server' ? {} : { engine };
  return configText('train', [...trainingOptionNames, 'engine'], { ...options, ...ofEngine });
}

/** Settings that follow from the options and the model, for human readers; recomputed on resuming. */
function derivedSettings({
  wording,
  promptStyle,
  rewardReads,
  warmupShare,
  decayTo,
  optimizer,
  maxGradientNorm,
}: Settings) {
  return { wording, promptStyle, rewardReads, warmupShare, decayTo, optimizer, maxGradientNorm };
}

function problemsJson({ train, rows, test, validation }: ProblemSet): string {
  const list = (items: readonly unknown[]) => items.map((item) => `    ${JSON.stringify(item)}`).join(',\n');
  const more = validation === undefined ? '' : `,\n  "validation": [\n${list(validation)}\n  ]`;
  return `{\n  "train": [\n${list(train)}\n  ],\n  "rows": ${JSON.stringify(rows)},\n  "test": [\n${list(test)}\n  ]${more}\n}\n`;
}

const runShape = object({
  format: oneOf([format]),
  engine: oneOf([...engineNames, 'server']),
  modelHash: text,
  problemsChecksum: text,
  options: anyObject,
});

/** Reads the `config.json` at `path`. @throws UserError that lists every invalid option, or says that the file was changed. */
export function readRun(path: string): StoredRun {
  const source = { path, what: "a run's configuration", fix: 'Start a new run.' };
  const record = readJsonRecord(path, source.fix);
  requireCommand(path, 'train');
  const { engine, modelHash, problemsChecksum, options: stored } = check(runShape, record, source);
  const options = storedOptions(path, trainingOptionNames, stored, source.fix);
  return { options, engine, modelHash, problemsChecksum, record };
}

/** @throws UserError if the `config.json` at `path` is that of another command's run. */
export function requireCommand(path: string, command: 'train' | 'sft'): void {
  const folder = dirname(path);
  const other = command === 'train' ? 'sft' : 'train';
  if (commandOfRun(folder) !== other) return;
  const instead = other === 'sft' ? `, or train its model with --model ${folder}` : '';
  throw new UserError({
    problem: `${folder} contains a run of \`tinyzero ${other}\`, not of \`tinyzero ${command}\`.`,
    fix: `Resume it with \`tinyzero ${other} --resume ${folder}\`${instead}.`,
  });
}

/** The options that a sealed `config.json` holds. @throws UserError that lists every invalid option, or says that the file was changed. */
export function storedOptions<Name extends OptionName>(
  path: string,
  names: readonly Name[],
  stored: object,
  fix: string,
): OptionValues<Name> {
  requireSeal(path, fix);
  const problems: string[] = [];
  const options = resolveOptions(names, optionsAsFlags({ ...stored }, names), {}, problems);
  if (problems.length > 0) {
    throw new UserError({ problem: `${path} contains invalid options: ${problems.join('; ')}.`, fix });
  }
  return options;
}

/** @throws UserError when the model of a resumed run has changed. */
export function requireSameModel(
  folder: RunFolder,
  stored: { readonly modelHash: string },
  model: string,
  modelHash: string,
): void {
  if (stored.modelHash === modelHash) return;
  throw new UserError({
    problem: `${model} is not the model that the run in ${folder.path} started with.`,
    expected: `hash ${stored.modelHash}`,
    found: `hash ${modelHash}`,
    fix: 'Restore the original model, or start a new run.',
  });
}

const problemShape = object({ id: text, cluster: text, value: anything });
const problemsShape = object({
  train: list(problemShape),
  rows: list(integer({ min: 0 })),
  test: list(problemShape),
  validation: optional(list(problemShape)),
});

/** Reads the `problems.json` at `path`. @throws UserError that names the invalid field. */
export function readProblems(path: string): Omit<ProblemSet, 'notes'> {
  const source = { path, what: 'a list of problems', fix: 'Start a new run.' };
  const { train, rows, test, validation } = check(problemsShape, readJsonRecord(path, source.fix), source);
  check(list(integer({ min: 0, max: train.length - 1 })), rows, source, 'rows');
  return { train, rows, test, ...(validation && { validation }) };
}

/** Those of a run's options that decide its evaluation problems and how they are sampled. */
export function evaluationOptionsOf(options: TrainingOptions): Partial<TrainingOptions> {
  const names = evaluationOptionNames.filter((name) => name !== 'model' && hasKey(options, name));
  // If a task names no held-out problems, their choice depends on the number of training rows.
  return Object.fromEntries(
    [...names, 'numTrain' as const, 'evalSamples' as const].map((name) => [name, options[name]]),
  );
}

/**
 * Checks that a resumed run has the model and the problems it started with. A damaged `problems.json` or `options.toml` is written
 * again.
 *
 * @returns messages about repairs.
 * @throws UserError when the model or the problems have changed.
 */
export function requireSameRun(folder: RunFolder, stored: StoredRun, job: RunFacts, modelHash: string): string[] {
  requireSameModel(folder, stored, job.settings.model, modelHash);
  const path = folder.file('problems');
  const text = problemsJson(job.problems);
  if (checksumOf(text).crc32 !== stored.problemsChecksum) {
    throw new UserError({
      problem: `The problems of the run in ${folder.path} have changed.`,
      fix: 'If the --task or --problems file was changed, restore it; otherwise start a new run.',
    });
  }
  return [...repaired(path, text), ...repaired(folder.file('repeat'), repeatText(stored))];
}

/** Rewrites the file if its content is not `text`. @returns a message if it did. */
export function repaired(path: string, text: string): string[] {
  const found = checksumOfFile(path);
  if (found !== undefined && sameChecksum(found, checksumOf(text))) return [];
  explainWrites(path, () => writeFileAtomic(path, text));
  return [`${path} was ${found === undefined ? 'missing' : 'damaged'} and has been rewritten.`];
}
