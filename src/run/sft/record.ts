/**
 * @file The record of a run of supervised training: `config.json` with all options, versions and hashes, and `examples.jsonl`, a
 * copy of the data. A resumed run reads and checks both.
 */
import { type EngineName, engineNames } from '../../engine/choices.js';
import { configText } from '../../options/config-file.js';
import { sftOptionNames } from '../../options/names.js';
import type { SftOptions, SftSettings } from '../../options/sft-settings.js';
import type { TokenLoss } from '../../policy/row-loss.js';
import { checksumOf, requireSeal, sealJson } from '../../util/checksum.js';
import { UserError } from '../../util/errors.js';
import { explainWrites, readRegularFile, writeFileAtomic } from '../../util/file.js';
import { type JsonRecord, readJsonRecord } from '../../util/json.js';
import { anyObject, check, integer, number, object, oneOf, optional, text } from '../../util/schema.js';
import type { RunFolder } from '../folder.js';
import { recordHead, repaired, requireCommand, storedOptions } from '../record.js';

/** Incremented when older versions would misread a run. */
const format = 'tinyzero-sft-1';

export interface StoredSft {
  readonly options: SftOptions;
  readonly engine: EngineName;
  readonly modelHash: string;
  /** Of `examples.jsonl`. */
  readonly examplesChecksum: string;
  /** Engine of the whole run; undefined in runs of versions that did not record it. */
  readonly updates: number | undefined;
  /** The whole file. Fields not listed above are for people. */
  readonly record: JsonRecord;
}

export interface SftFacts {
  readonly settings: SftSettings;
  readonly engine: { readonly name: EngineName; readonly description: string };
  readonly modelHash: string;
  /** Content of `examples.jsonl`. */
  readonly content: string;
  /** Of the whole run. */
  readonly updates: number;
}

/** Writes both files. `config.json` comes last, since it makes the folder a run. */
export function writeSftRun(folder: RunFolder, { settings, engine, modelHash, content, updates }: SftFacts): void {
  const { promptStyle, warmupShare, decayTo, optimizer, maxGradientNorm } = settings;
  const options = Object.fromEntries(sftOptionNames.map((name) => [name, settings[name]]));
  const config = {
    ...recordHead(format, engine, modelHash),
    examplesChecksum: checksumOf(content).crc32,
    updates,
    options,
    derived: { promptStyle, warmupShare, decayTo, optimizer, maxGradientNorm },
  };
  explainWrites(folder.path, () => {
    writeFileAtomic(folder.file('examples'), content);
    writeFileAtomic(folder.file('repeat'), repeatText({ options, engine: engine.name }));
    writeFileAtomic(folder.file('config'), sealJson(`${JSON.stringify(config, null, 2)}\n`));
  });
}

function repeatText({ options, engine }: { readonly options: object; readonly engine: EngineName }): string {
  return configText('sft', [...sftOptionNames, 'engine'], { ...options, engine });
}

/** Restores a damaged `options.toml`. @returns messages about it. */
export function repairSftRun(folder: RunFolder, stored: StoredSft): string[] {
  return repaired(folder.file('repeat'), repeatText(stored));
}

const runShape = object({
  format: oneOf([format]),
  engine: oneOf(engineNames),
  modelHash: text,
  examplesChecksum: text,
  updates: optional(integer({ min: 0 })),
  options: anyObject,
});

/** Reads `config.json`. @throws UserError that lists every invalid option, or reports that the file was changed. */
export function readSftRun(path: string): StoredSft {
  const source = { path, what: 'the configuration of a run of `tinyzero sft`', fix: 'Start a new run.' };
  const record = readJsonRecord(path, source.fix);
  requireCommand(path, 'sft');
  const { engine, modelHash, examplesChecksum, updates, options: stored } = check(runShape, record, source);
  const options = storedOptions(path, sftOptionNames, stored, source.fix);
  return { options, engine, modelHash, examplesChecksum, updates, record };
}

/** The training data of a run. @throws UserError when the file was changed. */
export function readStoredExamples(path: string, { examplesChecksum }: StoredSft): string {
  const content = readRegularFile(path, Number.POSITIVE_INFINITY).toString();
  if (checksumOf(content).crc32 === examplesChecksum) return content;
  throw new UserError({
    problem: `${path} was changed after the run wrote it.`,
    expected: `CRC-32 ${examplesChecksum}`,
    found: `CRC-32 ${checksumOf(content).crc32}`,
    fix: 'Restore the original lines, or start a new run.',
  });
}

const lossFormat = 'tinyzero-loss-1';
const lossShape = object({ format: oneOf([lossFormat]), loss: number({ min: 0 }), tokens: integer({ min: 1 }) });

/** The held-out loss from one of a run's files. @throws UserError when it is damaged. */
export function readLoss(path: string): TokenLoss {
  const { loss, tokens } = check(lossShape, readJsonRecord(path), { path, what: 'a measured loss' });
  requireSeal(path);
  return { loss, tokens };
}

export function writeLoss(path: string, loss: TokenLoss): void {
  const content = { format: lossFormat, ...loss };
  explainWrites(path, () => writeFileAtomic(path, sealJson(`${JSON.stringify(content, null, 2)}\n`)));
}
