/**
 * @file The fingerprint of a V* file: everything that its rewards depend on. Equal fingerprints mean equal rewards.
 */
import { UserError } from '../util/errors.js';
import { quote } from '../util/json.js';

/** Everything that the rewards depend on, as hashes or short descriptions. Equal fingerprints mean equal rewards. */
export interface Fingerprint {
  readonly model: string;
  readonly tokenizer: string;
  readonly problems: string;
  readonly prompt: string;
  /** Temperature, token limit and seed. Not the number of samples: sample i does not depend on it. */
  readonly sampling: string;
  readonly reward: string;
}

const fingerprintFields = ['model', 'tokenizer', 'problems', 'prompt', 'sampling', 'reward'] as const;

interface Fingerprinted {
  readonly fingerprint: Fingerprint;
}

/** @throws UserError naming every field of `expected` that differs in the file, except which program drew the samples. */
export function requireFingerprint(path: string, file: Fingerprinted, expected: Partial<Fingerprint>): void {
  const wanted = { ...expected, ...(expected.sampling && { sampling: withoutSampler(expected.sampling) }) };
  const found = { ...file.fingerprint, sampling: withoutSampler(file.fingerprint.sampling) };
  requireEqual(path, file, wanted, found);
}

/** For files that get more samples: they must come from the same program. @throws UserError */
export function requireSameSampler(path: string, file: Fingerprinted, expected: Pick<Fingerprint, 'sampling'>): void {
  requireEqual(path, file, { sampling: expected.sampling }, file.fingerprint);
}

/** The part of `sampling` that does not name the server that drew the samples. */
const withoutSampler = (sampling: string) => sampling.split(', drawn by ', 1)[0]!;

function requireEqual(path: string, file: Fingerprinted, expected: Partial<Fingerprint>, found: Fingerprint): void {
  const differing = fingerprintFields.filter(
    (field) => expected[field] !== undefined && found[field] !== expected[field],
  );
  if (differing.length === 0) return;
  const list = (fingerprint: Partial<Fingerprint>) =>
    differing.map((field) => `${field} ${shortHash(fingerprint[field])}`).join(', ');
  throw new UserError({
    problem: `${path} holds V* for other settings: ${differing.join(' and ')} ${differing.length > 1 ? 'differ' : 'differs'}.`,
    expected: list(expected),
    found: list(file.fingerprint),
    fix: 'Use the options it was made with, or create a new file with `tinyzero estimate-vstar`.',
  });
}

/** `hash 0123456789…` for a hash; anything else unchanged. */
function shortHash(value: unknown): string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value) ? `hash ${value.slice(0, 10)}…` : quote(value);
}
