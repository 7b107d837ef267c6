/**
 * @file What a job samples with: the policy in this process, or a server. A server is tested before it is used, and its model is
 * compared with the local weights. In stage 2, each refresh sends it the current adapter.
 */

import type { Problem } from '../../data/problem.js';
import type { Engine } from '../../engine/backend.js';
import { weightForm } from '../../engine/choices.js';
import type { Pretrained } from '../../model/checkpoint/pretrained.js';
import type { Tokenizer } from '../../model/checkpoint/tokenizer.js';
import type { SampleCall, SampledText } from '../../model/loaded-model.js';
import type { OpenModel } from '../../model/open.js';
import { endTokens, planRollouts } from '../../model/prompt-input.js';
import { serverAdapters } from '../../model/server/adapters.js';
import { serverTimes, serverUrl } from '../../model/server/http.js';
import { type OpenServer, openServer, requireSameWeights } from '../../model/server/open.js';
import { type SamplingServer, sampleOnServer } from '../../model/server/sampler.js';
import type { Settings } from '../../options/settings.js';
import type { PlacedPolicy } from '../../policy/placed.js';
import type { Policy } from '../../policy/policy.js';
import { promptIds, type RolloutKit } from '../../policy/rollout.js';
import { type CheckpointModel, savePolicy } from '../../stage2/checkpoint.js';
import { type SamplerTolerance, samplerTolerance } from '../../stage2/checks.js';
import { currentSampler, heldTensors, type LaggedSampler, localLaggedSampler } from '../../stage2/lagged.js';
import { exitCodes, UserError } from '../../util/errors.js';
import type { Reporter } from '../../util/reporter.js';

/** What a server will be asked to sample. */
type ServerWork = Pick<RolloutKit, 'form' | 'endIds' | 'maxNewTokens' | 'temperature'> & {
  readonly tokenizer: Tokenizer;
  readonly problems: readonly Problem[];
  readonly vocabSize: number;
};

/** Number of prompts to test a server with. */
const trialPrompts = 4;

const trialsOf = (work: ServerWork): number[][] => {
  const ids = work.problems.map((problem) => promptIds(work, problem));
  return ids.sort((a, b) => b.length - a.length).slice(0, trialPrompts);
};

/** Opens the server at `--sampler-url`; undefined without that option. @throws UserError when it is unusable. */
export async function openSampler(
  settings: Pick<Settings, 'samplerUrl' | 'samplerModel' | 'apiKeyEnv' | 'concurrency'>,
  work: ServerWork,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<SamplingServer | undefined> {
  const { samplerUrl } = settings;
  if (samplerUrl === undefined) return undefined;
  return await openNamed({ ...settings, samplerUrl }, { ...work, prompts: trialsOf(work), signal }, reporter);
}

type ServerOptions = Pick<Settings, 'samplerModel' | 'apiKeyEnv' | 'concurrency'> & { readonly samplerUrl: string };

async function openNamed(
  { samplerUrl, samplerModel: model, apiKeyEnv, concurrency }: ServerOptions,
  work: Omit<OpenServer, 'connection' | 'model' | 'concurrency'>,
  reporter: Reporter,
): Promise<SamplingServer> {
  const said = new Set<string>();
  const onTrouble = (line: string) => {
    if (!said.has(line)) reporter.line(line);
    said.add(line);
  };
  const connection = { url: serverUrl(samplerUrl), key: keyOf(apiKeyEnv), onTrouble, ...serverTimes };
  const server = await openServer({ ...work, connection, model, concurrency });
  reporter.line(`Samples come from ${server.description} at ${connection.url}.`);
  if (!server.seeded) {
    reporter.line('It ignores seeds, so a run that uses it cannot be repeated exactly.');
  }
  return server;
}

/** Samples completions on a server and returns them as the library's `sample` does. @throws UserError */
export async function sampleTexts(
  server: ServerOptions,
  model: OpenModel,
  prompts: readonly (readonly number[])[],
  call: SampleCall,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<SampledText[][]> {
  const { samples = 1, maxNewTokens = 256, temperature = 1, topP, topK, seed = 0, onToken, onCompletion } = call;
  const { tokenizer, pretrained } = model;
  const { vocabSize } = pretrained.config;
  // Servers also count the last token of a completion, although nothing follows it.
  const maxPositions = pretrained.config.maxPositions - 1;
  const endIds = endTokens(model);
  const rollouts = planRollouts(prompts, { samples, maxNewTokens, seed, firstSample: 0, maxPositions });
  const trials = [...prompts].sort((a, b) => b.length - a.length).slice(0, trialPrompts);
  const longest = Math.max(...rollouts.map((rollout) => rollout.maxNewTokens));
  const work = { tokenizer, vocabSize, prompts: trials, maxNewTokens: longest, temperature, endIds, signal };
  const opened = await openNamed(server, work, reporter);
  const texts: SampledText[] = new Array(rollouts.length);
  await sampleOnServer(opened, opened.model, rollouts, {
    ...{ temperature, topP, topK, endIds, signal },
    ...(onToken && { onToken }),
    onCompletion(index, completion) {
      texts[index] = { ...completion, text: tokenizer.decode(completion.ids) };
      onCompletion?.(index, texts[index]);
    },
  });
  return prompts.map((_, i) => texts.slice(i * samples, (i + 1) * samples));
}

function keyOf(variable: string | undefined): string | undefined {
  const key = variable === undefined ? undefined : process.env[variable];
  if (variable === undefined || (key !== undefined && /^[\x21-\x7e]+$/.test(key))) return key;
  const found =
    key === undefined ? 'no such variable' : 'a value with a space, a line break or another invalid character';
  throw new UserError(
    { problem: `--api-key-env: the environment variable ${variable} contains no key.`, found },
    { exitCode: exitCodes.usage },
  );
}

/** Compares the server's model with the local weights and reports how well they agree. @throws UserError when they differ. */
export async function checkServer(
  server: SamplingServer,
  model: { readonly engine: Engine; readonly pretrained: Pretrained },
  work: ServerWork,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const trial = { prompts: trialsOf(work), endIds: work.endIds };
  const difference = await requireSameWeights(server, model, trial, signal);
  reporter.line(
    difference === undefined
      ? 'Its weights were not compared with those of --model: it reports no log-probs, or the model does not fit in memory here.'
      : `Its log-probs differ from those of --model by ${Number(difference.toPrecision(2))} on average.`,
  );
}

/** Names the server that samples, for the fingerprint of a V* file. Empty without one, since samples do not depend on the engine. */
export function drawnBy(server: SamplingServer | undefined): string {
  if (server === undefined) return '';
  return `, drawn by ${server.description}${server.seeded ? '' : ' without seeds'}`;
}

/** The samplers of a training run. */
export interface RunSamplers {
  /** The model before training. */
  readonly base: Pick<Policy, 'sample'>;
  /** The current policy. */
  readonly current: Pick<Policy, 'sample'>;
  /** The policy at the last refresh. */
  readonly lagged: LaggedSampler;
  /** Largest allowed difference between log-probs of the sampler and of the policy. */
  readonly tolerance: SamplerTolerance;
  /** Frees the samplers' resources. */
  close(): Promise<void>;
}

interface TrainedHere {
  readonly policy: PlacedPolicy;
  readonly settings: Pick<Settings, 'refreshEvery' | 'precision' | 'samplerWeights' | 'lora' | 'tinkerUrl'>;
}

/** Samples with the policy in this process. */
export function localSamplers({ policy, settings }: TrainedHere, here: Pick<Policy, 'sample'>): RunSamplers {
  const { sample } = here;
  const { precision, samplerWeights, tinkerUrl } = settings;
  const lagged = settings.refreshEvery > 1 ? localLaggedSampler(policy, sample) : currentSampler(policy, sample);
  return {
    base: here,
    current: here,
    lagged,
    // A server may use different bfloat16 kernels for sampling and training.
    tolerance: samplerTolerance[tinkerUrl === undefined ? weightForm(precision, samplerWeights) : 'bf16'],
    close: async () => {},
  };
}

/**
 * Samples on a server, which reads the policy's adapters from a shared folder.
 *
 * @throws UserError when the server cannot draw training samples.
 */
export function serverSamplers(
  server: SamplingServer,
  { policy, settings }: TrainedHere,
  { folder, model }: { readonly folder: string; readonly model: CheckpointModel },
): RunSamplers {
  if (server.withoutLogProbs !== undefined) {
    throw new UserError({
      problem: `The server at ${server.connection.url} cannot draw the rollouts of stage 2: ${server.withoutLogProbs}.`,
      fix: 'Sample V* there instead: `tinyzero estimate-vstar --sampler-url URL`, then `tinyzero train --v-star FILE` without a server.',
    });
  }
  const save = (to: string, read: Policy['read']) => savePolicy(to, { saved: policy.saved, read }, model);
  const adapters = serverAdapters(server, { folder, save, rank: settings.lora!.rank });
  const held = heldTensors(policy);
  let name: string | undefined;
  const refreshFrom = async (read: Policy['read']) => {
    held.hold(read);
    name = await adapters.load(held.read);
  };
  return {
    base: { sample: (rollouts, options) => sampleOnServer(server, server.model, rollouts, options) },
    current: {
      async sample(rollouts, options) {
        return await adapters.sample(await adapters.load(policy.read, options.signal), rollouts, options);
      },
    },
    lagged: {
      read: held.read,
      refresh: () => refreshFrom(policy.read),
      restore: refreshFrom,
      sample: (rollouts, options) => adapters.sample(name!, rollouts, options),
    },
    // The server may compute in bfloat16.
    tolerance: samplerTolerance.bf16,
    close: adapters.close,
  };
}
