/**
 * @file Parity with the other implementations, on request: TRL's trainers as they are installed, and the published formulas in
 * float64, on the same rows and weights.
 *
 *     npm run test:parity -- --install    # first: makes bench/peers/.venv (6 GB)
 *     npm run test:parity                 # 20 minutes on 2 quiet cores; --only llama for one family
 *     npm run test:parity -- --folder DIR # keeps what the Python sides computed, and takes what is there already
 *
 * Prints the table of docs/parity.md, the worst of all models; with --all every case. The exit code is 1 if anything is outside its bounds. Bounds do not depend on a machine's
 * rounding: tinyzero must be as near to the float64 result as TRL is, within a factor.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { installPeers, peerVersions, warmPeers } from '../../bench/python.js';
import type { EngineName } from '../../src/engine/choices.js';
import { type Case, casesOf, drawnBatches, families } from './cases.js';
import { compare, type Line, markdown, worstOf } from './compare.js';
import { type Batches, ourResult } from './ours.js';
import { publishedResults, type TheirResult, trlResults } from './python-sides.js';

const { values } = parseArgs({
  options: {
    install: { type: 'boolean', default: false },
    engine: { type: 'string', default: 'tensorflow' },
    only: { type: 'string', default: '' },
    folder: { type: 'string' },
    all: { type: 'boolean', default: false },
  },
});
const engines = ['tensorflow', 'wasm'] as const satisfies readonly EngineName[];
const engine = engines.find((name) => name === values.engine);
if (engine === undefined) throw new Error(`--engine: expected ${engines.join(' or ')}, found ${values.engine}`);
if (values.install) installPeers();
warmPeers();
const folder = values.folder ?? mkdtempSync(join(tmpdir(), 'tinyzero-parity-'));
mkdirSync(folder, { recursive: true });
const lines: Line[] = [];
try {
  const cases = families.flatMap(casesOf).filter(({ name }) => name.includes(values.only));
  if (cases.length === 0) throw new Error(`no case has "${values.only}" in its name`);
  const trained = cases.filter(({ trainer }) => trainer !== undefined);
  console.error(`${trained.length} cases with TRL:`);
  const trl = new Map<Case, TheirResult>();
  for (const [i, result] of trlResults(folder, trained).entries()) trl.set(trained[i]!, result);
  console.error(`and ${cases.length} by the published formulas in float64:`);
  const batchesOf = (given: Case): Batches => trl.get(given)?.batches ?? drawnBatches(given);
  const published = publishedResults(
    folder,
    cases.map((given) => ({ ...given, batches: batchesOf(given) })),
  );
  for (const [i, given] of cases.entries()) {
    const ours = await ourResult(given, batchesOf(given), engine);
    lines.push(...compare(given, { ours, trl: trl.get(given), published: published[i]! }));
  }
} finally {
  if (values.folder === undefined) rmSync(folder, { recursive: true, force: true });
}
console.log(markdown(values.all ? lines : worstOf(lines)));
console.log(`\n${peerVersions().slice(0, 3).join(', ')}; tinyzero's engine: ${engine}.`);
const failed = lines.filter(({ holds }) => !holds);
console.log(`${lines.length - failed.length} of ${lines.length} comparisons hold.`);
if (failed.length > 0) {
  console.error(`\n${markdown(failed)}`);
  console.error(`\n${failed.length} of ${lines.length} lines are outside their bounds.`);
  process.exitCode = 1;
}
