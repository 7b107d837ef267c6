/** @file What a probe of the reference found, and its file in the folder of a run. */
import { requireSeal, sealJson } from '../util/checksum.js';
import { explainWrites, writeFileAtomic } from '../util/file.js';
import { readJsonRecord } from '../util/json.js';
import { check, flag, integer, list, mapOf, number, object, optional, orNull, share, text } from '../util/schema.js';

/** Result of a probe, stored in the run folder. */
export interface Probe {
  readonly problems: number;
  readonly samplesPerProblem: number;
  /** Shares of exact completions. */
  readonly greedyExact: number;
  readonly sampledExact: number;
  /** Share of samples whose last integer is the solution's, parsed as an answer or not; null without a numeric solution. */
  readonly lastNumberRight: number | null;
  readonly truncatedRate: number;
  readonly parseFailRate: number;
  readonly meanTokens: number;
  /** The first samples of the first problems. */
  readonly examples: readonly ProbeExample[];
}

interface ProbeExample {
  readonly problem: string;
  readonly completion: string;
  readonly exact: boolean;
  readonly parsed: boolean;
  readonly truncated: boolean;
}

export interface ProbeRecord {
  /** With the wording that the run uses. */
  readonly probe: Probe;
  /** By wording; absent when only one was possible. */
  readonly wordings?: Readonly<Record<string, Probe>>;
}

export function writeProbe(path: string, record: ProbeRecord): void {
  explainWrites(path, () => writeFileAtomic(path, sealJson(`${JSON.stringify(record, null, 2)}\n`)));
}

const probeShape = object({
  problems: integer({ min: 1 }),
  samplesPerProblem: integer({ min: 1 }),
  greedyExact: share,
  sampledExact: share,
  lastNumberRight: orNull(share),
  truncatedRate: share,
  parseFailRate: share,
  meanTokens: number({ min: 0 }),
  examples: list(object({ problem: text, completion: text, exact: flag, parsed: flag, truncated: flag })),
});

const fileShape = object({ probe: probeShape, wordings: optional(mapOf(probeShape)) });

/** @throws UserError that names the invalid field, or says that the file was changed. */
export function readProbe(path: string): ProbeRecord {
  const fix = 'Remove the file; resuming the run writes it again.';
  const { probe, wordings } = check(fileShape, readJsonRecord(path, fix), {
    path,
    what: 'a probe of the reference',
    fix,
  });
  requireSeal(path, fix);
  return { probe, ...(wordings && { wordings: Object.fromEntries(wordings) }) };
}
