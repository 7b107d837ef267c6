/**
 * @file The probe of `train --dry-run`: how long a run takes on this machine. Measures the speed (speed.ts), samples a few
 * completions of the model for their lengths, and adds up the parts of the run (plan.ts).
 */
import type { Engine } from '../../engine/backend.js';
import { type DescribedModel, openModel } from '../../model/open.js';
import type { JobProblems } from '../../options/problems.js';
import { endIdsOf, promptIds } from '../../policy/rollout.js';
import { type Algorithm, algorithms } from '../../stage2/algorithm.js';
import { rolloutRandom } from '../../util/random.js';
import type { Reporter } from '../../util/reporter.js';
import { withSampler } from '../job.js';
import { enginePlace } from '../server/place.js';
import { type Lengths, meanLength, type TimedWork, type TimeParts } from './plan.js';
import { measuredParts, measureSpeed } from './speed.js';
import {
  evaluationSeconds,
  policyWork,
  probeSeconds,
  stage1Seconds,
  stage2Parts,
  type TimedJob,
  totalSeconds,
} from './work.js';

export interface RunTime {
  /** Seconds by part of the run. */
  readonly parts: TimeParts;
  /** Their sum, with completions as long as they are before training. */
  readonly seconds: number;
  /** The sum if every completion is as long as allowed: training may make them longer. */
  readonly secondsAtMost: number;
  readonly probe: {
    /** Seconds that it took, without loading the model. */
    readonly seconds: number;
    /** Layers that were timed; fewer than the model has if it is large. */
    readonly layers: number;
    /** Completions sampled for their lengths, and how many of them ended; 0 if the weights are not here. */
    readonly completions: number;
    readonly ended: number;
    /** Tokens that a completion is expected to have. */
    readonly meanTokens: number;
  };
}

export interface TimeRequest {
  readonly name: string;
  readonly model: DescribedModel;
  readonly opened: JobProblems;
  readonly engine: Engine;
  /** Whether the weights are on this machine. */
  readonly hasWeights: boolean;
  /** Most updates. */
  readonly updates: number;
}

export async function probeTime(request: TimeRequest, reporter: Reporter, signal: AbortSignal): Promise<RunTime> {
  const { model, opened, engine, hasWeights, updates } = request;
  const { settings, problems, form } = opened;
  const { config } = model.pretrained;
  const job = { ...opened, ...model };
  const before = process.uptime();
  const { options, caches, shape } = policyWork(engine, job);
  const began = performance.now();
  const speed = await measureSpeed(engine, config, {
    ...{ options, caches, shape },
    prompts: problems.train.slice(0, caches.slots).map((problem) => promptIds({ ...model, form }, problem)),
    samplesPerPrompt: settings.numSamples,
  });
  const measured = (performance.now() - began) / 1000;
  const sampled = hasWeights ? await sampleLengths(request, reporter, signal) : undefined;
  const lengths = sampled?.lengths;
  const work: TimedWork = { speed, caches, shape, maxNewTokens: settings.maxNewTokens, lengths };
  const parts = planParts(job, work, updates, before);
  return {
    parts,
    seconds: totalSeconds(parts),
    secondsAtMost: totalSeconds(planParts(job, { ...work, lengths: undefined }, updates, before)),
    probe: {
      seconds: measured + (sampled?.seconds ?? 0),
      layers: measuredParts(config).layers,
      completions: lengths === undefined ? 0 : lengths.ended.length + lengths.running.length,
      ended: lengths?.ended.length ?? 0,
      meanTokens: meanLength(work),
    },
  };
}

/** Completions that are sampled for their lengths, of as many problems: of a small model, and of a large one. */
const completionsSampled = { small: 64, large: 16 } as const;
/** Milliseconds after which sampling stops. */
const samplingMs = 1000;

/** Samples from the model until the time is over. `seconds`: without loading it. */
async function sampleLengths(
  { name, opened, engine }: TimeRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<{ readonly lengths: Lengths; readonly seconds: number }> {
  const { settings, task, problems, form } = opened;
  const { pretrained, tokenizer } = await openModel(name, reporter, signal);
  const { small, large } = completionsSampled;
  try {
    const tried = problems.train.slice(0, measuredParts(pretrained.config).whole ? small : large);
    const job = {
      settings: { ...settings, numSamples: 1, evalSamples: 0 },
      ...{ pretrained, reference: pretrained, tokenizer, task, form, engine: enginePlace(engine), reporter },
    };
    return await withSampler(job, tried, async ({ policy }) => {
      const ended: number[] = [];
      const running = new Map<number, number>();
      const stop = new AbortController();
      const began = performance.now();
      const sampling = policy.sample(
        tried.map((problem) => ({
          promptIds: promptIds({ tokenizer, form }, problem),
          uniform: rolloutRandom({ seed: settings.seed, stage: 'dry-run', problem: problem.id, sample: 0 }).uniform,
          maxNewTokens: settings.maxNewTokens,
        })),
        {
          temperature: settings.temperature,
          endIds: endIdsOf({ tokenizer, pretrained, form }),
          signal: stop.signal,
          onToken: (rollout) => void running.set(rollout, (running.get(rollout) ?? 0) + 1),
          onCompletion(rollout, { ids }) {
            running.delete(rollout);
            ended.push(ids.length);
          },
          onStep() {
            if (signal.aborted || performance.now() - began > samplingMs) stop.abort();
          },
        },
      );
      await sampling.catch((error: unknown) => {
        if (!stop.signal.aborted) throw error;
      });
      signal.throwIfAborted();
      return { lengths: { ended, running: [...running.values()] }, seconds: (performance.now() - began) / 1000 };
    });
  } finally {
    pretrained.weights.close();
  }
}

/** @param before seconds from the start of a process until it has read the problems. */
function planParts(job: TimedJob, work: TimedWork, updates: number, before: number): TimeParts {
  const { algo, wordings, vStar } = job.settings;
  const { hasStage1 }: Algorithm = algorithms[algo];
  const { openSampling } = work.speed;
  const evaluation = evaluationSeconds(job, work);
  const probing = probeSeconds(job, work);
  return {
    'start, loading and compiling': before + openSampling,
    // The first wording may be good enough; each further one takes as long again, or longer.
    ...(wordings.length > 1 && { 'trying a wording': openSampling + probing }),
    'evaluation before training': evaluation,
    ...(hasStage1 && vStar === undefined && { 'stage 1': stage1Seconds(job, work) }),
    ...(hasStage1 && wordings.length === 1 && { 'samples for the verdict': probing }),
    ...stage2Parts(job, work, updates),
    'evaluation after training': evaluation,
  };
}
