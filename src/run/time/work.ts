/**
 * @file The work of a run as its policy sees it, and the seconds that its parts take: evaluations, both stages, checkpoints. Shared
 * by `train --dry-run` and the verdict between the stages.
 */
import { weightForm } from '../../engine/choices.js';
import { roomOf } from '../../model/load.js';
import { policyLayout } from '../../policy/layout.js';
import type { PolicyEngine } from '../../policy/policy.js';
import { promptIds } from '../../policy/rollout.js';
import { chooseUpdateShape } from '../../policy/update-shape.js';
import { groupSamples } from '../../stage1/estimate.js';
import { probeSize } from '../../stage1/probe.js';
import { type Algorithm, algorithms } from '../../stage2/algorithm.js';
import { policySizes, policyTraining } from '../core/plan.js';
import { planDisk } from '../disk.js';
import type { Job } from '../job.js';
import { samplingSeconds, type TimedWork, type TimeParts, updateSeconds, writingSeconds } from './plan.js';

export type TimedJob = Pick<Job, 'settings' | 'problems' | 'form' | 'tokenizer'> & {
  readonly pretrained: Pick<Job['pretrained'], 'config'>;
};

/** The sizes of a run's policy, and how it is trained. */
export function policyWork(engine: PolicyEngine, { settings, problems, form, tokenizer, pretrained }: TimedJob) {
  const { config } = pretrained;
  const { precision, samplerWeights } = settings;
  const all = [...problems.train, ...problems.test, ...(problems.validation ?? [])];
  const training = policyTraining(settings);
  const dtypeOf = () => config.dtype;
  const sizes = policySizes(settings, { tokenizer, form }, all, training);
  const room = roomOf(engine);
  const storedAs = { form: weightForm(precision, samplerWeights) };
  const { sizes: caches } = policyLayout(config, sizes, { ...training, ...storedAs, room });
  return {
    options: { sizes, precision, samplerWeights, dtypeOf, training },
    caches,
    shape: chooseUpdateShape(config, { ...sizes, ...training, room }),
  };
}

/** Seconds of one evaluation. */
export function evaluationSeconds({ settings, problems: { test } }: TimedJob, work: TimedWork): number {
  const { length } = test;
  return samplingSeconds(work, length, length) + samplingSeconds(work, settings.evalSamples * length, length);
}

/** Seconds of stage 1. */
export function stage1Seconds({ settings: { numSamples }, problems: { train } }: TimedJob, work: TimedWork): number {
  const inGroup = Math.max(1, Math.floor(groupSamples / numSamples));
  const group = (problems: number) => samplingSeconds(work, problems * numSamples, problems);
  return Math.floor(train.length / inGroup) * group(inGroup) + group(train.length % inGroup);
}

/** Seconds of a probe of the reference (stage1/probe.ts). */
export function probeSeconds({ problems: { train } }: TimedJob, work: TimedWork): number {
  const tried = Math.min(probeSize.problems, train.length);
  return samplingSeconds(work, tried, tried) + samplingSeconds(work, probeSize.samples * tried, tried);
}

/** Seconds of the parts of stage 2. */
export function stage2Parts(job: TimedJob, work: TimedWork, updates: number): TimeParts {
  const { settings, problems, form, tokenizer, pretrained } = job;
  const { train, test, validation = [] } = problems;
  const { algo, evalEvery, saveEvery, batchSize, lora, freeze } = settings;
  const algorithm: Algorithm = algorithms[algo];
  const distinct = Math.ceil(batchSize / algorithm.groupSize(settings));
  const rows = Array.from({ length: batchSize }, (_, i) => promptIds({ tokenizer, form }, train[i % train.length]!));
  const times = (every: number) => (every > 0 ? Math.floor(updates / every) : 0);
  const greedy = (count: number) => samplingSeconds(work, count, count);
  // The last checkpoint is always written.
  const { bytes } = planDisk(pretrained.config, { keep: 0, download: 0, lora, freeze });
  return {
    'stage 2: rollouts': updates * samplingSeconds(work, batchSize, distinct),
    'stage 2: updates': work.speed.openUpdates + updates * updateSeconds(work, rows),
    'stage 2: measurements': times(evalEvery) * (greedy(test.length) + greedy(validation.length)),
    'stage 2: checkpoints': (1 + times(saveEvery)) * writingSeconds(bytes),
  };
}

export function totalSeconds(parts: TimeParts): number {
  return Object.values(parts).reduce((sum, seconds) => sum + seconds, 0);
}
