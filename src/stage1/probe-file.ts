/** @file `probe.json` of a run: how the reference answered a few training problems, for each wording that was tried. */
import { requireSeal, sealJson } from '../util/checksum.js';
import { writeFileAtomic } from '../util/file.js';
import { readJsonRecord } from '../util/json.js';
import { check, flag, integer, list, mapOf, number, object, optional, orNull, share, text } from '../util/schema.js';
import { explainWrites } from '../util/write.js';
import type { Probe } from './probe.js';

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

/** @throws UserError that names the field that is wrong, or says that the file was changed. */
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
