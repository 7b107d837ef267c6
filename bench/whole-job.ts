/**
 * @file The whole job in tinyzero: the steps of `tinyzero train` (open the model, evaluate, stage 1, stage 2, evaluate, save),
 * with the same functions, but with the problems and token counts of the job file. One process from start to end.
 * `node dist/bench/whole-job.js [--wasm] JOB.json`; the last line is JSON.
 */
import { type Product, pairName } from '../src/data/multiplication.js';
import type { Problem } from '../src/data/problem.js';
import { wordings } from '../src/data/prompt.js';
import { defineTask, type Task } from '../src/data/task.js';
import { defaultOptions } from '../src/options/settings.js';
import { evaluate } from '../src/policy/evaluate.js';
import type { TrainingOptions } from '../src/policy/policy.js';
import type { RolloutKit } from '../src/policy/rollout.js';
import { multiplicationReward } from '../src/reward/multiplication.js';
import { withJob, withPolicy } from '../src/run/job.js';
import { estimate } from '../src/stage1/estimate.js';
import { type VStarFile, vStarOf } from '../src/stage1/v-star-file.js';
import { type Algorithm, algorithms } from '../src/stage2/algorithm.js';
import { savePolicy } from '../src/stage2/checkpoint.js';
import { samplerTolerance } from '../src/stage2/checks.js';
import { currentSampler } from '../src/stage2/lagged.js';
import { freshProgress, trainPolicy } from '../src/stage2/loop.js';
import { planBatches } from '../src/stage2/plan.js';
import { silentReporter } from '../src/util/reporter.js';
import { mean } from '../src/util/statistics.js';
import { type JobResult, readJob, type WholeJob } from './jobs.js';
import { sinceStart } from './measure.js';

const engine = process.argv.includes('--wasm') ? 'wasm' : 'tensorflow';
console.log(JSON.stringify(await run(readJob(process.argv.at(-1)!))));

/** Grades like the other sides: completions that were cut off can earn the full reward, since all of them are. */
function benchTask(): Task<Product> {
  return defineTask<Product>({
    name: 'whole job',
    problems: () => [],
    prompt: wordings.builtin,
    reward: (completion, { a, b }) => multiplicationReward(completion, a * b),
    cluster: pairName,
  });
}

async function run(job: WholeJob): Promise<JobResult> {
  const never = new AbortController().signal;
  const task = benchTask();
  const toProblem = ([a, b]: readonly [number, number]): Problem<Product> => {
    const value = { a, b };
    return { id: wordings.builtin(value), cluster: pairName(value), value };
  };
  const train = job.train.map(toProblem);
  const heldOut = job.heldOut.map(toProblem);
  const { model, samples: numSamples, beta1, beta2, batchSize, temperature, seed, newTokens: maxNewTokens } = job;
  const options = defaultOptions({ model, numSamples, beta1, beta2, batchSize, temperature, seed, maxNewTokens });

  const phases: Record<string, number> = {};
  const sequences: Record<string, number> = {};
  const tokens: Record<string, number> = {};
  const rewards: Record<string, number> = {};
  let phase = 'load';
  let firstTokenSeconds: number | undefined;

  const request = {
    options,
    engineRequest: { engine, install: false } as const,
    reporter: silentReporter,
    signal: never,
    taskApi: () => import('../src/index.js'),
  };
  return await withJob(request, async (opened) => {
    const { settings, pretrained } = opened;
    const { optimizer, maxGradientNorm } = settings;
    const algorithm: Algorithm = algorithms.apo;
    const training: TrainingOptions = {
      batchSize,
      optimizer,
      maxGradientNorm,
      loss: (arithmetic, row) => algorithm.loss(arithmetic, row, settings),
    };
    const problems = [...train, ...heldOut];
    return await withPolicy({ ...opened, task: task as Task }, problems, training, async ({ policy, kit: usual }) => {
      const kit = {
        ...usual,
        task,
        endIds: new Set(job.endId === null ? [] : [job.endId]),
        policy: {
          sample: async (rollouts, options) => {
            const onToken = () => {
              firstTokenSeconds ??= sinceStart();
            };
            // Only the first call counts.
            const heard = firstTokenSeconds === undefined ? { ...options, onToken } : options;
            const completions = await policy.sample(rollouts, heard);
            sequences[phase] = (sequences[phase] ?? 0) + completions.length;
            tokens[phase] = completions.reduce((sum, { ids }) => sum + ids.length, tokens[phase] ?? 0);
            return completions;
          },
        },
      } satisfies RolloutKit<Product>;
      phases.load = sinceStart();

      const timed = async (name: string, work: () => Promise<void>) => {
        phase = name;
        const began = performance.now();
        await work();
        phases[name] = (performance.now() - began) / 1000;
      };
      const evaluation = async () => {
        const { greedy, sampled } = await evaluate(kit, heldOut, { model, samples: job.evalSamples });
        rewards[phase] = (greedy.meanReward + job.evalSamples * (sampled?.meanReward ?? 0)) / (1 + job.evalSamples);
      };

      await timed('evalBefore', evaluation);

      let known: VStarFile = {
        createdBy: 'bench',
        fingerprint: opened.fingerprint,
        beta1,
        samples: numSamples,
        entries: new Map(),
      };
      await timed('stage1', async () => {
        known = await estimate(kit, train, known);
        rewards.stage1 = mean([...known.entries.values()].flatMap((entry) => entry.rewards));
      });

      const plan = planBatches(train, { seed, batchSize, groupSize: 1, rollouts: job.epochs * train.length });
      await timed('stage2', async () => {
        const vStar = vStarOf(
          'the benchmark',
          known,
          train.map(({ id }) => id),
        );
        policy.loadMoments();
        policy.loadReference(pretrained.weights.read);
        const earned: number[] = [];
        await trainPolicy({
          kit,
          policy,
          plan,
          start: freshProgress,
          sampler: currentSampler(policy, kit.policy.sample),
          refreshEvery: 1,
          tolerance: samplerTolerance[settings.precision],
          signal: never,
          algorithm,
          settings,
          vStarOf: (id) => vStar.get(id)!,
          schedule: {
            peak: job.learningRate,
            warmupSteps: job.warmupSteps,
            cosine: { steps: plan.length, floor: job.decayTo },
          },
          evalHeldOut: () => undefined,
          validate: () => undefined,
          keepIfBest: async () => {},
          isOver: () => false,
          onStep: (_, trained) => earned.push(...trained.map(({ rollout }) => rollout.score.reward)),
          saveDue: () => false,
          save: async () => {},
        });
        rewards.stage2 = mean(earned);
      });

      await timed('evalAfter', evaluation);
      await timed('save', async () => {
        await savePolicy(job.out, policy, { configRecord: pretrained.configRecord, carryFrom: pretrained.folder });
      });
      return { phases, sequences, tokens, rewards, updates: plan.length, firstTokenSeconds };
    });
  });
}
