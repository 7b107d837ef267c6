/**
 * @file `v_star_dict.json`: the rewards of every reference sample, bound by a fingerprint to what they were sampled with.
 * Because rewards are kept per sample, V* for another beta1 or for fewer samples follows without sampling, a file that was
 * interrupted goes on, and the shards of several machines are merged. Knows nothing of models or tasks.
 */
import { UserError } from '../util/errors.js';
import { writeFileAtomic } from '../util/file.js';
import { quote, readJsonRecord } from '../util/json.js';
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
  orNull,
  share,
  text,
  union,
  wrong,
} from '../util/schema.js';
import { explainWrites } from '../util/write.js';
import { vStar } from './vstar.js';

/** Changes when older readers would misread a file. */
const format = 'tinyzero-v-star-1';

/** What the rewards depend on; each field is a hash or a short description, and equal fields mean equal rewards. */
export interface Fingerprint {
  readonly model: string;
  readonly tokenizer: string;
  readonly problems: string;
  readonly prompt: string;
  /** Temperature, token limit and seed. Not the number of samples: sample i is the same whatever their number. */
  readonly sampling: string;
  readonly reward: string;
}

const fingerprintFields = ['model', 'tokenizer', 'problems', 'prompt', 'sampling', 'reward'] as const;

/** The samples of one problem: position i of each list belongs to sample i. */
export interface VStarEntry {
  /** From 0 to 1. */
  readonly rewards: readonly number[];
  readonly exact: readonly boolean[];
  /** An answer in the asked-for form was found. */
  readonly parsed: readonly boolean[];
  /** The completion was cut off at the token limit. */
  readonly truncated: readonly boolean[];
  /** Completion tokens, the end token included. */
  readonly lengths: readonly number[];
}

export interface VStarFile {
  /** Program and version. */
  readonly createdBy: string;
  readonly fingerprint: Fingerprint;
  readonly beta1: number;
  /** Samples a problem has when it is complete. */
  readonly samples: number;
  /** By problem id. An entry with fewer samples is one that was interrupted. */
  readonly entries: ReadonlyMap<string, VStarEntry>;
}

/** Writes the file whole or not at all; a refusing disk is explained. `vStar` stands there for readers; it is null where samples are missing. */
export function writeVStarFile(path: string, file: VStarFile): void {
  const { createdBy, fingerprint, beta1, samples } = file;
  const entries = [...file.entries].map(([id, entry]) => {
    const value = entry.rewards.length === samples ? vStar(entry.rewards, beta1) : null;
    return `    ${JSON.stringify(id)}: ${JSON.stringify({ vStar: value, ...entry })}`;
  });
  // JSON has no Infinity.
  const head = JSON.stringify(
    { format, createdBy, fingerprint, beta1: Number.isFinite(beta1) ? beta1 : 'Infinity', samples },
    null,
    2,
  );
  const text = `${head.slice(0, -2)},\n  "entries": {\n${entries.join(',\n')}\n  }\n}\n`;
  explainWrites(path, () => writeFileAtomic(path, text));
}

const entryShape = object({
  vStar: orNull(anything),
  rewards: list(share),
  exact: list(flag),
  parsed: list(flag),
  truncated: list(flag),
  lengths: list(integer({ min: 0 })),
});

const fileShape = object({
  format: oneOf([format]),
  createdBy: text,
  fingerprint: object({ model: text, tokenizer: text, problems: text, prompt: text, sampling: text, reward: text }),
  beta1: union([number({ min: 0 }), oneOf(['Infinity'])], 'a number of at least 0 or "Infinity"'),
  samples: integer({ min: 1 }),
  entries: mapOf(entryShape),
});

/** @throws UserError that names the field that is wrong. */
export function readVStarFile(path: string): VStarFile {
  const source: JsonSource = { path, what: 'a V* file', fix: 'Make a new one with `tinyzero estimate-vstar`.' };
  const file = check(fileShape, readJsonRecord(path, source.fix), source);
  const { createdBy, fingerprint, samples } = file;
  const beta1 = Number(file.beta1);
  const entries = new Map<string, VStarEntry>();
  for (const [id, { vStar: stored, ...entry }] of file.entries) {
    checkEntry(source, `entries[${quote(id)}]`, entry, { stored, beta1, samples });
    entries.set(id, entry);
  }
  return { createdBy, fingerprint, beta1, samples, entries };
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
    require(items.length === count, name, `as long as rewards, ${count}`, items.length);
  }
  // A stored V* that its own rewards contradict was edited by hand: neither can be trusted.
  const expected = count === samples ? vStar(entry.rewards, beta1) : null;
  const agrees =
    expected === null ? stored === null : typeof stored === 'number' && Math.abs(stored - expected) <= 1e-9;
  require(agrees, 'vStar', `${expected}, which follows from its rewards`, stored);
}

/** @throws UserError naming every field in which the file was made with something else than `expected`. */
export function requireFingerprint(path: string, file: VStarFile, expected: Fingerprint): void {
  const differing = fingerprintFields.filter((field) => file.fingerprint[field] !== expected[field]);
  if (differing.length === 0) return;
  const list = (fingerprint: Fingerprint) =>
    differing.map((field) => `${field} ${quote(fingerprint[field])}`).join(', ');
  throw new UserError({
    problem: `${path} holds V* for something else: ${differing.join(' and ')} ${differing.length > 1 ? 'differ' : 'differs'}.`,
    expected: list(expected),
    found: list(file.fingerprint),
    fix: 'Use the options it was made with, or make a new one with `tinyzero estimate-vstar`.',
  });
}

/**
 * The same rewards at another beta1, or the first `samples` samples of each problem: nothing is sampled.
 *
 * @throws UserError when more samples are asked for than the file has.
 */
export function deriveVStar(
  path: string,
  file: VStarFile,
  { beta1 = file.beta1, samples = file.samples } = {},
): VStarFile {
  if (samples > file.samples) {
    throw new UserError({
      problem: `${path} has ${file.samples} samples a problem, too few for --num-samples ${samples}.`,
      fix: 'Ask for fewer, or run `tinyzero estimate-vstar` without --from to sample the missing ones.',
    });
  }
  const first = (entry: VStarEntry): VStarEntry => ({
    rewards: entry.rewards.slice(0, samples),
    exact: entry.exact.slice(0, samples),
    parsed: entry.parsed.slice(0, samples),
    truncated: entry.truncated.slice(0, samples),
    lengths: entry.lengths.slice(0, samples),
  });
  return { ...file, beta1, samples, entries: new Map([...file.entries].map(([id, entry]) => [id, first(entry)])) };
}

/** The samples still to be drawn for `ids`, in order: number `sample` of problem `id`. */
export function missingSamples(file: VStarFile, ids: readonly string[]): { id: string; sample: number }[] {
  return ids.flatMap((id) => {
    const done = file.entries.get(id)?.rewards.length ?? 0;
    return Array.from({ length: file.samples - done }, (_, i) => ({ id, sample: done + i }));
  });
}

/**
 * V* of every problem in `ids`.
 *
 * @throws UserError naming the first problem that is missing or incomplete; training on a guess is not an option.
 */
export function vStarOf(path: string, file: VStarFile, ids: readonly string[]): ReadonlyMap<string, number> {
  const missing = missingSamples(file, ids);
  if (missing[0] !== undefined) {
    const problems = new Set(missing.map(({ id }) => id)).size;
    throw new UserError({
      problem: `${path} lacks samples for ${problems} of ${ids.length} problems, ${quote(missing[0].id)} first.`,
      expected: `${file.samples} samples for each problem`,
      fix: 'Let `tinyzero estimate-vstar` continue the file.',
    });
  }
  return new Map(ids.map((id) => [id, vStar(file.entries.get(id)!.rewards, file.beta1)]));
}

/**
 * One file from the shards of several machines. A problem in two shards must have the same samples, of which one shard
 * may have fewer.
 *
 * @throws UserError naming the two files and the field or problem in which they differ.
 */
export function mergeVStarFiles(shards: readonly { readonly path: string; readonly file: VStarFile }[]): VStarFile {
  const [first, ...others] = shards;
  if (first === undefined) throw new UserError('There is no V* file to merge.');
  const entries = new Map(first.file.entries);
  for (const { path, file } of others) {
    requireFingerprint(path, file, first.file.fingerprint);
    for (const field of ['beta1', 'samples'] as const) {
      if (file[field] !== first.file[field]) {
        throw new UserError({
          problem: `${path} does not belong to ${first.path}: ${field} differs.`,
          expected: `${field} ${first.file[field]}`,
          found: `${field} ${file[field]}`,
        });
      }
    }
    for (const [id, entry] of file.entries) {
      const known = entries.get(id);
      if (known === undefined || isBeginning(known, entry)) entries.set(id, entry);
      else if (!isBeginning(entry, known)) {
        throw new UserError({
          problem: `${path} has other samples for ${quote(id)} than the files before it.`,
          found: `rewards ${quote(entry.rewards)} and ${quote(known.rewards)}`,
          fix: 'Both say they were sampled alike, so one of them is damaged: make it again.',
        });
      }
    }
  }
  return { ...first.file, entries };
}

function isBeginning(short: VStarEntry, long: VStarEntry): boolean {
  const begins = (a: readonly unknown[], b: readonly unknown[]) => a.every((item, i) => item === b[i]);
  return (Object.keys(short) as (keyof VStarEntry)[]).every((name) => begins(short[name], long[name]));
}
