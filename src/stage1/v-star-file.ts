/**
 * @file `v_star_dict.json`: the rewards of every reference sample, with a fingerprint of the settings they were sampled with.
 * Rewards are stored per sample, so V* for another beta1 or for fewer samples needs no new sampling, an interrupted file
 * can be resumed, and shards from several machines can be merged. Independent of models and tasks.
 */
import { requireSeal, sealJson } from '../util/checksum.js';
import { UserError } from '../util/errors.js';
import { explainWrites, writeFileAtomic } from '../util/file.js';
import { quote, readJsonRecord } from '../util/json.js';
import { keysOf } from '../util/keys.js';
import {
  anything,
  check,
  flag,
  integer,
  type JsonSource,
  list,
  mapOf,
  mustBe,
  number,
  object,
  oneOf,
  optional,
  orNull,
  share,
  text,
  union,
  wrong,
} from '../util/schema.js';
import { type Fingerprint, requireFingerprint, requireSameSampler } from './fingerprint.js';
import { vStar } from './vstar.js';

/** Changes when older readers would misread a file. */
const format = 'tinyzero-v-star-2';

/** The samples of one problem: item i of each list belongs to sample i. */
export interface VStarEntry {
  /** From 0 to 1. */
  readonly rewards: readonly number[];
  readonly exact: readonly boolean[];
  /** An answer in the requested form was found. This list and the next ones are empty for samples of another program. */
  readonly parsed: readonly boolean[];
  /** The completion was cut off at the token limit. */
  readonly truncated: readonly boolean[];
  /** Completion tokens, the end token included. */
  readonly lengths: readonly number[];
  /** Numbers that are equal for equal completions of the problem; empty in files of older versions. */
  readonly texts: readonly number[];
}

/** Which part of the training problems a file holds. Shard 1 of 1 is all of them. */
export interface Shards {
  /** Total number of shards. */
  readonly of: number;
  /** The shards in the file, from 1, ascending. */
  readonly have: readonly number[];
  /** Problems in these shards, sampled or not. */
  readonly problems: number;
}

export interface VStarFile {
  /** Program and version that wrote the file. */
  readonly createdBy: string;
  readonly fingerprint: Fingerprint;
  readonly beta1: number;
  /** Samples per problem, when complete. */
  readonly samples: number;
  /** Absent, as in the file of a run: the file holds all problems. */
  readonly shards?: Shards;
  /** By problem id. An entry with fewer samples was interrupted. */
  readonly entries: ReadonlyMap<string, VStarEntry>;
}

/** The samples alone. */
export type Samples = Pick<VStarFile, 'beta1' | 'samples' | 'entries'>;

/**
 * Writes the file atomically. Its `vStar` fields are for human readers; they are null where samples are missing.
 *
 * @throws UserError when the file cannot be written.
 */
export function writeVStarFile(path: string, file: VStarFile): void {
  const { createdBy, fingerprint, beta1, samples, shards } = file;
  const entries = [...file.entries].map(([id, entry]) => {
    const value = entry.rewards.length === samples ? vStar(entry.rewards, beta1) : null;
    return `    ${JSON.stringify(id)}: ${JSON.stringify({ vStar: value, ...entry })}`;
  });
  // JSON has no Infinity.
  const head = JSON.stringify(
    { format, createdBy, fingerprint, beta1: Number.isFinite(beta1) ? beta1 : 'Infinity', samples, shards },
    null,
    2,
  );
  const text = `${head.slice(0, -2)},\n  "entries": {\n${entries.join(',\n')}\n  }\n}\n`;
  explainWrites(path, () => writeFileAtomic(path, sealJson(text)));
}

const entryShape = object({
  vStar: orNull(anything),
  rewards: list(share),
  exact: list(flag),
  parsed: list(flag),
  truncated: list(flag),
  lengths: list(integer({ min: 0 })),
  texts: optional(list(integer({ min: 0 }))),
});

const fileShape = object({
  format: oneOf([format]),
  createdBy: text,
  fingerprint: object({ model: text, tokenizer: text, problems: text, prompt: text, sampling: text, reward: text }),
  beta1: union([number({ min: 0 }), oneOf(['Infinity'])], 'a number of at least 0 or "Infinity"'),
  samples: integer({ min: 1 }),
  shards: optional(object({ of: integer({ min: 1 }), have: list(integer({ min: 1 })), problems: integer({ min: 1 }) })),
  entries: mapOf(entryShape),
});

/** @throws UserError that names the invalid field, or says that the file was changed. */
export function readVStarFile(path: string): VStarFile {
  const source: JsonSource = { path, what: 'a V* file', fix: 'Create a new one with `tinyzero estimate-vstar`.' };
  const file = check(fileShape, readJsonRecord(path, source.fix), source);
  requireSeal(path, source.fix);
  const { createdBy, fingerprint, samples, shards } = file;
  const beta1 = Number(file.beta1);
  const entries = new Map<string, VStarEntry>();
  for (const [id, { vStar: stored, texts = [], ...known }] of file.entries) {
    const entry = { ...known, texts };
    checkEntry(source, `entries[${quote(id)}]`, entry, { stored, beta1, samples });
    entries.set(id, entry);
  }
  return { createdBy, fingerprint, beta1, samples, ...(shards && { shards }), entries };
}

function checkEntry(
  source: JsonSource,
  at: string,
  entry: VStarEntry,
  { stored, beta1, samples }: { stored: unknown; beta1: number; samples: number },
): void {
  const require = (holds: boolean, name: string, expected: string, found: unknown) => {
    if (!holds) throw wrong(source, [mustBe(`${at}.${name}`, expected, found)]);
  };
  const count = entry.rewards.length;
  require(count <= samples, 'rewards', `a list of at most ${samples} samples`, count);
  for (const [name, items] of Object.entries(entry)) {
    const isUnknown = items.length === 0 && name !== 'exact';
    require(items.length === count || isUnknown, name, `as long as rewards, ${count}`, items.length);
  }
  // A stored V* that contradicts its rewards was edited by hand, so neither can be trusted.
  const expected = count === samples ? vStar(entry.rewards, beta1) : null;
  const agrees =
    expected === null ? stored === null : typeof stored === 'number' && Math.abs(stored - expected) <= 1e-9;
  require(agrees, 'vStar', `${expected}, which follows from its rewards`, stored);
}

/**
 * The same rewards with another beta1, or the first `samples` samples of each problem. Draws nothing.
 *
 * @throws UserError when the file has fewer samples than that.
 */
export function deriveVStar(
  path: string,
  file: VStarFile,
  { beta1 = file.beta1, samples = file.samples } = {},
): VStarFile {
  if (samples > file.samples) {
    throw new UserError({
      problem: `${path} has ${file.samples} samples per problem, too few for --num-samples ${samples}.`,
      fix: 'Use fewer, or run `tinyzero estimate-vstar` without --from to sample the missing ones.',
    });
  }
  const first = (entry: VStarEntry): VStarEntry => ({
    rewards: entry.rewards.slice(0, samples),
    exact: entry.exact.slice(0, samples),
    parsed: entry.parsed.slice(0, samples),
    truncated: entry.truncated.slice(0, samples),
    lengths: entry.lengths.slice(0, samples),
    texts: entry.texts.slice(0, samples),
  });
  return { ...file, beta1, samples, entries: new Map([...file.entries].map(([id, entry]) => [id, first(entry)])) };
}

/** The samples still to be drawn for `ids`, in order: sample number `sample` of problem `id`. */
export function missingSamples(file: Omit<Samples, 'beta1'>, ids: readonly string[]): { id: string; sample: number }[] {
  return ids.flatMap((id) => {
    const done = file.entries.get(id)?.rewards.length ?? 0;
    return Array.from({ length: file.samples - done }, (_, i) => ({ id, sample: done + i }));
  });
}

/**
 * V* of every problem in `ids`.
 *
 * @throws UserError naming the first problem that is missing or incomplete.
 */
export function vStarOf(path: string, file: Samples, ids: readonly string[]): ReadonlyMap<string, number> {
  const missing = missingSamples(file, ids);
  if (missing[0] !== undefined) {
    const problems = new Set(missing.map(({ id }) => id)).size;
    throw new UserError({
      problem: `${path} lacks samples for ${problems} of ${ids.length} problems, ${quote(missing[0].id)} first.`,
      expected: `${file.samples} samples for each problem`,
      fix: 'Complete the file with `tinyzero estimate-vstar`.',
    });
  }
  return new Map(ids.map((id) => [id, vStar(file.entries.get(id)!.rewards, file.beta1)]));
}

export interface VStarPart {
  readonly path: string;
  readonly file: VStarFile;
}

/**
 * Merges the shards of several machines into one file. All shards, in any order, give the same bytes as a file that was
 * never divided. With `partial`, shards may be missing, incomplete or repeated; a problem in two files must still have the
 * same samples, though one file may have fewer of them.
 *
 * @throws UserError naming the file that does not match, or the missing shards.
 */
export function mergeVStarFiles(parts: readonly VStarPart[], { partial = false } = {}): VStarFile {
  const [first, ...others] = parts;
  if (first === undefined) throw new UserError('No V* files to merge.');
  for (const { path, file } of others) requireSameSettings(path, file, first);
  if (!partial) requireAllShards(parts);
  const entries = new Map<string, VStarEntry>();
  for (const { path, id, entry } of inOrder(parts)) {
    const known = entries.get(id);
    if (known === undefined || isBeginning(known, entry)) entries.set(id, entry);
    else if (!isBeginning(entry, known)) {
      throw new UserError({
        problem: `${path} and an earlier file have different samples for ${quote(id)}.`,
        found: `rewards ${quote(entry.rewards)} and ${quote(known.rewards)}`,
        fix: 'Both files have the same fingerprint, so one of them is damaged. Create it again.',
      });
    }
  }
  const { shards: _, ...head } = first.file;
  const shards = unionOf(parts.map(({ file }) => shardsOf(file)));
  if (shards.have.length < shards.of) return { ...head, shards, entries };
  const isCounted = parts.every(({ file }) => file.shards !== undefined);
  return { ...head, ...(isCounted && { shards: { of: 1, have: [1], problems: shards.problems } }), entries };
}

/**
 * The entries of all parts in the order of the problems: shard i of n has every n-th problem from the i-th on, so the first
 * entries of all shards come before the second ones.
 */
function inOrder(parts: readonly VStarPart[]): { path: string; id: string; entry: VStarEntry }[] {
  const placed = parts.flatMap(({ path, file }) => {
    const { have } = shardsOf(file);
    return [...file.entries].map(([id, entry], index) => ({
      round: Math.floor(index / have.length),
      shard: have[index % have.length]!,
      item: { path, id, entry },
    }));
  });
  return placed.sort((a, b) => a.round - b.round || a.shard - b.shard).map(({ item }) => item);
}

/** A file with all problems counts as shard 1 of 1. */
function shardsOf({ shards, entries }: VStarFile): Shards {
  return shards ?? { of: 1, have: [1], problems: entries.size };
}

/**
 * A shard in several files counts once. Shard sizes differ by at most one and the larger ones come first, so a file implies
 * the size of each of its shards.
 */
function unionOf(all: readonly Shards[]): Shards {
  const sizes = new Map<number, number>();
  for (const { have, problems } of all) {
    for (const [i, shard] of have.entries()) sizes.set(shard, Math.ceil((problems - i) / have.length));
  }
  const have = [...sizes.keys()].sort((a, b) => a - b);
  return { of: all[0]!.of, have, problems: [...sizes.values()].reduce((sum, size) => sum + size, 0) };
}

/** @throws UserError naming the field that differs from the first file's. */
function requireSameSettings(path: string, file: VStarFile, first: VStarPart): void {
  requireFingerprint(path, file, first.file.fingerprint);
  requireSameSampler(path, file, first.file.fingerprint);
  const fields = ({ beta1, samples, shards }: VStarFile) => ({ beta1, samples, 'number of shards': shards?.of ?? 1 });
  const [ours, theirs] = [fields(file), fields(first.file)];
  for (const field of ['beta1', 'samples', 'number of shards'] as const) {
    if (ours[field] === theirs[field]) continue;
    throw new UserError({
      problem: `${path} does not belong to ${first.path}: ${field} differs.`,
      expected: `${field} ${theirs[field]}`,
      found: `${field} ${ours[field]}`,
    });
  }
}

/** @throws UserError naming the shards that are missing, repeated or incomplete. */
function requireAllShards(parts: readonly VStarPart[]): void {
  const holders = new Map<number, string>();
  const fix = 'Add --partial to merge anyway.';
  for (const { path, file } of parts) {
    const { of, have, problems } = shardsOf(file);
    for (const shard of have) {
      const other = holders.get(shard);
      if (other !== undefined) {
        throw new UserError({ problem: `${path} and ${other} are both shard ${shard} of ${of}.`, fix });
      }
      holders.set(shard, path);
    }
    const unfinished = missingSamples(file, [...file.entries.keys()]).length > 0;
    if (unfinished || file.entries.size < problems) {
      throw new UserError({
        problem: `${path} is incomplete.`,
        expected: `${file.samples} samples of each of its ${problems} problems`,
        fix: `To complete it, repeat the command that made it. ${fix}`,
      });
    }
  }
  const { of } = shardsOf(parts[0]!.file);
  const missing = Array.from({ length: of }, (_, i) => i + 1).filter((shard) => !holders.has(shard));
  if (missing.length === 0) return;
  throw new UserError({
    problem: `${missing.length === 1 ? 'Shard' : 'Shards'} ${missing.join(', ')} of ${of} ${missing.length === 1 ? 'is' : 'are'} missing.`,
    expected: `all ${of} shards`,
    found: `shards ${[...holders.keys()].sort((a, b) => a - b).join(', ')}`,
    fix,
  });
}

function isBeginning(short: VStarEntry, long: VStarEntry): boolean {
  const begins = (a: readonly unknown[], b: readonly unknown[]) => a.every((item, i) => item === b[i]);
  return keysOf(short).every((name) => begins(short[name], long[name]));
}
