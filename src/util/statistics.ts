/**
 * @file Statistics for small samples of problems: intervals, pass@k and exact paired tests. Pure. A problem and its mirror
 * (7 × 12, 12 × 7) form a *cluster*. Resampling and sign flips act on whole clusters, since their results are correlated.
 */
import type { Random } from './random.js';

/** Standard normal quantile at 0.975. */
const z95 = 1.959963984540054;

export type Interval = readonly [low: number, high: number];

export function mean(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('mean: expected at least one value');
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * The p-quantile of `values` by linear interpolation between order statistics: definition 7 of Hyndman and Fan, "Sample
 * Quantiles in Statistical Packages" (1996), the default of R and NumPy.
 */
export function quantile(values: readonly number[], p: number): number {
  if (values.length === 0 || !(p >= 0 && p <= 1)) throw new RangeError(`quantile ${p} of ${values.length} values`);
  const sorted = Float64Array.from(values).sort();
  const position = p * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (position - below) * (sorted[above]! - sorted[below]!);
}

/**
 * Wilson's score interval for a rate of `correct` out of `total` independent trials: E. B. Wilson, "Probable Inference,
 * the Law of Succession, and Statistical Inference", JASA 22 (1927). Unlike p ± z·se, it stays within [0, 1] and has nonzero
 * width at 0 and at `total`.
 */
export function wilsonInterval(correct: number, total: number, z = z95): Interval {
  if (!(Number.isInteger(total) && total > 0 && correct >= 0 && correct <= total)) {
    throw new RangeError(`${correct} correct out of ${total}`);
  }
  const rate = correct / total;
  const scale = 1 + z ** 2 / total;
  const centre = (rate + z ** 2 / (2 * total)) / scale;
  const half = (z / scale) * Math.sqrt((rate * (1 - rate)) / total + z ** 2 / (4 * total ** 2));
  // At 0 and at `total`, one bound is exactly 0 or 1; rounding could move it.
  return [correct === 0 ? 0 : Math.max(0, centre - half), correct === total ? 1 : Math.min(1, centre + half)];
}

/**
 * Unbiased estimate, from `correct` out of `samples`, of the probability that at least one of `k` samples is correct:
 * 1 - C(n-c, k) / C(n, k), in the product form of Chen et al., "Evaluating Large Language Models Trained on Code"
 * (2021), section 2.1, which cannot overflow.
 */
export function passAtK(samples: number, correct: number, k: number): number {
  if (!(Number.isInteger(k) && k >= 1 && k <= samples && correct >= 0 && correct <= samples)) {
    throw new RangeError(`pass@${k} from ${correct} correct of ${samples} samples`);
  }
  if (samples - correct < k) return 1;
  let allWrong = 1;
  for (let i = samples - correct + 1; i <= samples; i++) allWrong *= 1 - k / i;
  return 1 - allWrong;
}

/** One cluster's share of a rate: the sum of its outcomes and their number. */
export interface Cluster {
  readonly sum: number;
  readonly count: number;
}

/**
 * 95 % percentile interval of sum/count when whole clusters are drawn with replacement: the bootstrap of B. Efron (1979)
 * over clusters, as in Cameron, Gelbach and Miller, "Bootstrap-Based Improvements for Inference with Clustered Errors"
 * (2008), section 3. With few clusters (here often 11), such intervals are somewhat too narrow, which must be stated with them.
 *
 * @returns null if resampling cannot vary: with one cluster, or if all clusters have the same rate.
 */
export function clusterBootstrap(clusters: readonly Cluster[], random: Random, replicates = 10_000): Interval | null {
  if (clusters.length === 0) throw new RangeError('clusterBootstrap: expected at least one cluster');
  const rates = new Array<number>(replicates);
  for (let replicate = 0; replicate < replicates; replicate++) {
    let [sum, count] = [0, 0];
    for (let draw = 0; draw < clusters.length; draw++) {
      const cluster = clusters[random.int(0, clusters.length - 1)]!;
      sum += cluster.sum;
      count += cluster.count;
    }
    rates[replicate] = sum / count;
  }
  const [low, high] = [quantile(rates, 0.025), quantile(rates, 0.975)];
  return clusters.length > 1 && high - low > 1e-12 ? [low, high] : null;
}

export interface SignFlipResult {
  /** Two-sided. */
  readonly pValue: number;
  /** `exact`: all 2^n sign assignments were enumerated; `monte-carlo`: `assignments` random ones were drawn. */
  readonly method: 'exact' | 'monte-carlo';
  readonly assignments: number;
}

/** Largest number of clusters whose sign assignments are all enumerated; 2^20 take tens of milliseconds. */
const maxEnumerated = 20;

/**
 * Fisher's randomisation test for paired differences ("The Design of Experiments", 1935, section 21): under the null
 * hypothesis, each cluster's difference is equally likely to have the opposite sign. The p-value is the share of sign
 * assignments whose |sum| is at least the observed one. Clusters without a difference are omitted, which does not change the
 * p-value. Beyond 20 clusters, random assignments are drawn from `random`, and the observed one counts among them, so that p
 * is never 0 (Phipson and Smyth 2010).
 */
export function signFlipTest(differences: readonly number[], random: Random, replicates = 100_000): SignFlipResult {
  const sizes = differences.filter((difference) => difference !== 0).map(Math.abs);
  // Sums of the same numbers in another order differ by rounding, so close values count as equal.
  const tolerance = 1e-12 * sizes.reduce((sum, size) => sum + size, 0);
  const observed = Math.abs(differences.reduce((sum, difference) => sum + difference, 0)) - tolerance;
  if (sizes.length > maxEnumerated) {
    let extreme = 1;
    for (let replicate = 0; replicate < replicates; replicate++) {
      let sum = 0;
      for (const size of sizes) sum += random.uniform() < 0.5 ? -size : size;
      if (Math.abs(sum) >= observed) extreme++;
    }
    return { pValue: extreme / (replicates + 1), method: 'monte-carlo', assignments: replicates };
  }
  const assignments = 2 ** sizes.length;
  let extreme = 0;
  for (let signs = 0; signs < assignments; signs++) {
    let sum = 0;
    for (let i = 0; i < sizes.length; i++) sum += signs & (1 << i) ? -sizes[i]! : sizes[i]!;
    if (Math.abs(sum) >= observed) extreme++;
  }
  return { pValue: extreme / assignments, method: 'exact', assignments };
}

/**
 * McNemar's exact two-sided test. Under the null hypothesis, each of the n = `gained + lost` problems whose outcome changed is
 * equally likely to be a gain or a loss: p = 2 · P(Binomial(n, 1/2) <= min(gained, lost)), at most 1. Q. McNemar (1947).
 * Treats problems as independent, so it complements the cluster test.
 */
export function mcnemarExact(gained: number, lost: number): number {
  if (!(Number.isInteger(gained) && Number.isInteger(lost) && gained >= 0 && lost >= 0)) {
    throw new RangeError(`${gained} gained, ${lost} lost`);
  }
  const changed = gained + lost;
  // Terms C(n, i) / 2^n are computed from logarithms, since 2^n overflows beyond n = 1023.
  let logTerm = -changed * Math.LN2;
  let tail = Math.exp(logTerm);
  for (let i = 1; i <= Math.min(gained, lost); i++) {
    logTerm += Math.log((changed - i + 1) / i);
    tail += Math.exp(logTerm);
  }
  return Math.min(1, 2 * tail);
}
