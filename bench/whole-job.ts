/**
 * @file The whole job in tinyzero: the steps of `tinyzero train` (open the model, evaluate, stage 1, stage 2, evaluate, save),
 * with the same functions, but with the problems, rewards and token counts of the job file. One process from start to end.
 * `node dist/bench/whole-job.js [--wasm] JOB.json`; the last line is JSON.
 */
import { type Product, pairName } from '../src/data/multiplication.js';
import type { Problem } from '../src/data/problem.js';
import { wordings } from '../src/data/prompt.js';
import { defineTask, type Task } from '../src/data/task.js';
import { defaultOptions } from '../src/options/settings.js';
import { evaluate } from '../src/policy/evaluate.js';
import type { RolloutKit } from '../src/policy/rollout.js';
import { multiplicationReward } from '../src/reward/multiplication.js';
import { policyTraining } from '../src/run/core/plan.js';
import { withJob, withPolicy } from '../src/run/job.js';
import { estimate } from '../src/stage1/estimate.js';
import { trainedRows } from '../src/stage1/trained-problems.js';
import { type VStarFile, vStarOf } from '../src/stage1/v-star-file.js';
import { type Algorithm, algorithms } from '../src/stage2/algorithm.js';
import { savePolicy } from '../src/stage2/checkpoint.js';
import { samplerTolerance } from '../src/stage2/checks.js';
import { currentSampler } from '../src/stage2/lagged.js';
import { freshProgress, trainPolicy } from '../src/stage2/loop.js';
import { planBatches } from '../src/stage2/plan.js';
import { keyedRandom } from '../src/util/random.js';
import { silentReporter } from '../src/util/reporter.js';
import { mean } from '../src/util/statistics.js';
import { type JobResult, readJob, type WholeJob } from './jobs.js';
import { sinceStart } from './measure.js';

const engine = process.argv.includes('--wasm') ? 'wasm' : 'tensorflow';
console.log(JSON.stringify(await run(readJob(process.argv.at(-1)!))));

/** Grades like the other sides: where no completion can end, those that were cut off can earn the full reward. */
function benchTask({ wording, reward: kind, reads: read, endIds }: WholeJob): Task<Product> {
  return defineTask<Product>({
    name: 'whole job',
    problems: () => [],
    prompt: wordings[wording],
    reward: (completion, { a, b }, { finished }) =>
      multiplicationReward(completion, a * b, { finished: finished || endIds.length === 0 }, { kind, read }),
    cluster: pairName,
  });
}

async function run(job: WholeJob): Promise<JobResult> {
  const never = new AbortController().signal;
  const task = benchTask(job);
  const toProblem = ([a, b]: readonly [number, number]): Problem<Product> => {
    const value = { a, b };
    return { id: wordings[job.wording](value), cluster: pairName(value), value };
  };
  const train = job.train.map(toProblem);
  const heldOut = job.heldOut.map(toProblem);
  const { model, samples: numSamples, beta1, beta2, batchSize, temperature, seed, newTokens: maxNewTokens } = job;
  const { wording, freeze } = job;
  const sampling = { numSamples, temperature, seed, maxNewTokens, wording };
  const options = defaultOptions({ model, ...sampling, beta1, beta2, batchSize, freeze });

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
    const algorithm: Algorithm = algorithms.apo;
    const training = policyTraining(settings);
    const problems = [...train, ...heldOut];
    return await withPolicy({ ...opened, task: task as Task }, problems, training, async ({ policy, kit: usual }) => {
      const kit = {
        ...usual,
        task,
        endIds: new Set(job.endIds),
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
        const means = { greedy: greedy.meanReward, sampled: sampled?.meanReward ?? 0 };
        rewards[phase] = (means.greedy + job.evalSamples * means.sampled) / (1 + job.evalSamples);
        Object.assign(rewards, { [`${phase}Greedy`]: means.greedy, [`${phase}Sampled`]: means.sampled });
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

      const rows = trainedRows(job.rows, (i) => known.entries.get(train[i]!.id), {
        trainOn: 'all',
        curriculum: job.curriculum,
        random: () => keyedRandom(seed, 'curriculum'),
      }).map((i) => train[i]!);
      const plan = planBatches(rows, { seed, batchSize, groupSize: 1, rollouts: job.epochs * rows.length });
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
