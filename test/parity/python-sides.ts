/** @file The other sides of the comparison: TRL's trainers, and the published formulas in float64, as Python processes. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pythonOfPeers } from '../../bench/python.js';
import { closeSafetensors, openSafetensors, readTensor } from '../../src/model/checkpoint/safetensors.js';
import type { Case } from './cases.js';
import { folderOf } from './cases.js';
import type { Batches, Result, Tensors } from './ours.js';

export interface TheirResult extends Result {
  readonly batches: Batches;
}

export interface PublishedResult extends TheirResult {
  /** V* for beta1 = 0 and for a negative beta1, as the authors' program has them. */
  readonly vStarMean: readonly number[];
  readonly vStarNegative: readonly number[];
}

/** Every case with TRL's trainers. */
export function trlResults(root: string, cases: readonly Case[]): TheirResult[] {
  const scaled = cases.map((given) => ({
    ...given,
    out: folderOf(root, given, 'trl'),
    maxGradientNorm: given.maxGradientNorm / given.lossScale,
    adamEpsilon: given.adamEpsilon / given.lossScale,
  }));
  runScript('trl_trainers.py', join(root, 'trl.json'), scaled);
  return scaled.map(({ out, snapshots, lossScale }) => {
    const result = readResult<TheirResult>(out, snapshots);
    const times = (values: readonly number[]) => values.map((value) => value * lossScale);
    const gradient = new Map([...result.gradient].map(([name, values]) => [name, values.map((x) => x * lossScale)]));
    return { ...result, gradient, losses: times(result.losses), norms: times(result.norms) };
  });
}

/** Every case by the published formulas, on the rows of the other side. */
export function publishedResults(
  root: string,
  cases: readonly (Case & { readonly batches: Batches })[],
): PublishedResult[] {
  const given = cases.map((each) => ({ ...each, out: folderOf(root, each, 'published') }));
  runScript('published.py', join(root, 'published.json'), given);
  return given.map(({ out, snapshots }) => readResult<PublishedResult>(out, snapshots));
}

/** Runs the cases whose report is not there yet. */
function runScript(script: string, path: string, cases: readonly { readonly out: string }[]): void {
  const open = cases.filter(({ out }) => !existsSync(join(out, 'report.json')));
  if (open.length === 0) return;
  writeFileSync(path, JSON.stringify(open));
  const at = fileURLToPath(new URL(`../../../test/parity/${script}`, import.meta.url));
  const { status } = spawnSync(pythonOfPeers, [at, path], {
    stdio: ['ignore', 2, 'inherit'],
    // The models are tiny: threads would only wait for each other.
    env: { ...process.env, HF_HUB_OFFLINE: '1', TOKENIZERS_PARALLELISM: 'false', OMP_NUM_THREADS: '1' },
  });
  if (status !== 0) throw new Error(`${script} failed (${status}).`);
}

function readResult<R extends Result>(folder: string, snapshots: readonly number[]): R {
  const report = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8')) as R;
  return {
    ...report,
    gradient: readTensors(join(folder, 'gradient.safetensors')),
    weights: new Map(snapshots.map((step) => [step, readTensors(join(folder, `weights-${step}.safetensors`))])),
  };
}

function readTensors(path: string): Tensors {
  const file = openSafetensors(path);
  try {
    return new Map([...file.tensors].map(([name, entry]) => [name, readTensor(file, entry).slice()]));
  } finally {
    closeSafetensors(file);
  }
}
