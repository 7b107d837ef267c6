/**
 * @file `tinyzero estimate-vstar`: stage 1 alone, or V* derived from the rewards of an earlier stage 1.
 */
import { existsSync } from 'node:fs';
import type { OptionValues, samplingOptionNames } from '../config.js';
import { defaultOptions } from '../defaults.js';
import { exitCodes, UserError } from '../errors.js';
import { runFiles } from '../run/folder.js';
import { interruptible } from '../run/interrupt.js';
import { consoleReporter } from '../run/progress.js';
import { explainWrites } from '../run/write.js';
import { describePreflight } from '../run-report.js';
import { estimate } from '../stage1/estimate.js';
import { preflight } from '../stage1/preflight.js';
import {
  deriveVStar,
  readVStarFile,
  requireFingerprint,
  type VStarFile,
  writeVStarFile,
} from '../stage1/v-star-file.js';
import { packageVersion } from '../util/version.js';

type Values = OptionValues<
  (typeof samplingOptionNames)[number] | 'from' | 'shard' | 'out' | 'engine' | 'install' | 'json'
>;

export async function run(values: Values): Promise<number> {
  const out = values.out ?? runFiles.vStar;
  const file = values.from === undefined ? await sampled(values, out) : derived(values, values.from);
  explainWrites(out, () => writeVStarFile(out, file));
  const entries = [...file.entries.values()];
  const report = preflight(entries, { beta1: file.beta1, keepUnsolved: false });
  if (values.json) process.stdout.write(`${JSON.stringify({ file: out, preflight: report }, null, 2)}\n`);
  else process.stdout.write(`${describePreflight(report).join('\n')}\nWritten to ${out}.\n`);
  return exitCodes.ok;
}

function derived({ beta1, numSamples }: Values, from: string): VStarFile {
  const change = { ...(beta1 !== undefined && { beta1 }), ...(numSamples !== undefined && { samples: numSamples }) };
  return deriveVStar(from, readVStarFile(from), change);
}

function sampled(values: Values, out: string): Promise<VStarFile> {
  const { from: _, shard, out: __, engine, install, json: ___, ...given } = values;
  const reporter = consoleReporter();
  return interruptible(async (signal) => {
    const { openJob, openPolicy } = await import('../job.js');
    const job = await openJob({ options: defaultOptions(given), wish: { engine, install }, reporter, signal });
    try {
      const { fingerprint } = job;
      const { beta1, numSamples: samples } = job.settings;
      let start: VStarFile = {
        createdBy: `tinyzero ${packageVersion()}`,
        fingerprint,
        beta1,
        samples,
        entries: new Map(),
      };
      if (existsSync(out)) {
        const found = readVStarFile(out);
        requireFingerprint(out, found, fingerprint);
        // Sample i is the same whatever their number, so more of them only add to those that are there.
        start = found.samples > samples ? deriveVStar(out, found, { beta1, samples }) : { ...found, beta1, samples };
        reporter.line(`Going on with ${out}.`);
      }
      const problems = inShard(job.problems.train, shard);
      const { policy, kit } = openPolicy(job, problems);
      try {
        if (job.reference !== job.pretrained) policy.load(job.reference.weights.read);
        return await estimate(kit, problems, start, {
          signal,
          onGroup: (known, done, total) => {
            explainWrites(out, () => writeVStarFile(out, known));
            reporter.line(`${done} of ${total} problems sampled.`);
          },
        });
      } finally {
        policy.dispose();
      }
    } finally {
      job.close();
    }
  });
}

/** Every n-th problem, so that the parts take about equally long. */
function inShard<T>(problems: readonly T[], shard: string | undefined): readonly T[] {
  if (shard === undefined) return problems;
  const [, i, n] = /^(\d{1,6})\/(\d{1,6})$/.exec(shard)?.map(Number) ?? [];
  if (i === undefined || n === undefined || i < 1 || i > n || n > problems.length) {
    throw new UserError(
      { problem: `--shard: expected i/n with 1 <= i <= n <= ${problems.length}, found '${shard}'.` },
      { exitCode: exitCodes.usage },
    );
  }
  return problems.filter((_, index) => index % n === i - 1);
}
