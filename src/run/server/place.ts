/**
 * @file Where a job computes: on an engine of this machine, or on a server of the Tinker API (`--on tinker`). The server then
 * holds the weights; this process reads only the model's config and tokenizer.
 */
import { createHash } from 'node:crypto';
import type { Engine } from '../../engine/backend.js';
import type { RunEngine } from '../../engine/choices.js';
import type { Pretrained, Weights } from '../../model/checkpoint/pretrained.js';
import type { ModelConfig } from '../../model/network/config.js';
import { describeModel, type OpenModel, openModel, usageError } from '../../model/open.js';
import { builtinModel } from '../../model/shipped.js';
import type { Settings, TrainingOptions } from '../../options/settings.js';
import type { PlacedPolicy } from '../../policy/placed.js';
import { createPolicy, type PolicyOptions } from '../../policy/policy.js';
import type { Reporter } from '../../util/reporter.js';

export interface Place {
  /** Recorded by the run. */
  readonly name: RunEngine;
  readonly description: string;
  /** Absent on a server. */
  readonly engine?: Engine;
  /** @param probeIds the tokens of one of the job's prompts. */
  createPolicy(config: ModelConfig, options: PolicyOptions, probeIds: readonly number[]): PlacedPolicy;
  /** Closes the connection to a server, if any. */
  close(): void;
}

export function enginePlace(engine: Engine): Place {
  const { name, description } = engine;
  return {
    name,
    description,
    engine,
    createPolicy: (config, options) => createPolicy(engine, config, options),
    close: () => {},
  };
}

/** Connects to the server at `--tinker-url`. @throws UserError when it is not a Tinker server, or does not have the model. */
export async function tinkerPlace(
  { model, tinkerUrl: address, tinkerModel }: Pick<Settings, 'model' | 'tinkerUrl' | 'tinkerModel'>,
  reporter: Reporter,
): Promise<Place> {
  const [{ tinkerUrl, runTimes }, { openTinker }, { findTinkerModel, tinkerPolicy }] = await Promise.all([
    import('../../policy/tinker/connection.js'),
    import('../../policy/tinker/client.js'),
    import('../../policy/tinker/policy.js'),
  ]);
  const client = await openTinker({
    url: tinkerUrl(address ?? ''),
    apiKey: process.env.TINKER_API_KEY || undefined,
    ...runTimes,
    onTrouble: reporter.line,
  });
  try {
    const baseModel = await findTinkerModel(client, model, tinkerModel);
    return {
      name: 'server',
      description: `Tinker server at ${client.url}, model ${baseModel}`,
      createPolicy: (config, { training }, probeIds) =>
        tinkerPolicy(client, { config, baseModel, training, probeIds, onNote: reporter.line }),
      close: client.close,
    };
  } catch (error) {
    client.close();
    throw error;
  }
}

/** Opens the model of a job. If a server holds the weights, reads only its config and tokenizer. */
export async function openJobModel(
  { model = builtinModel, tinkerUrl, tinkerModel }: Pick<TrainingOptions, 'model' | 'tinkerUrl' | 'tinkerModel'>,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<Pick<OpenModel, 'pretrained' | 'tokenizer'>> {
  if (tinkerUrl === undefined) return await openModel(model, reporter, signal);
  const { pretrained, tokenizer } = await describeModel(model, reporter, signal);
  requireNoTinkerAdapter(pretrained);
  const weights = weightsOnServer(tinkerModel ?? model, pretrained);
  return { pretrained: { ...pretrained, weights }, tokenizer };
}

/** @throws UserError (wrong usage) when the base model for a server is itself an adapter. */
export function requireNoTinkerAdapter({ adapterFolder }: Pick<Pretrained, 'adapterFolder'>): void {
  if (adapterFolder === undefined) return;
  throw usageError(
    `--on tinker trains an adapter of a base model, but ${adapterFolder} is itself an adapter.`,
    'Give its base model as --model.',
  );
}

/** Weights that only the server can read. The hash covers their name on the server, not their values. */
function weightsOnServer(name: string, { config }: Omit<Pretrained, 'weights'>): Weights {
  return {
    dtype: config.dtype,
    byteLength: 0,
    dtypeOf: () => config.dtype,
    read: () => {
      throw new Error(`the weights of ${name} are on a server`);
    },
    hash: () => createHash('sha256').update(`tinker ${name}`).digest('hex'),
    close: () => {},
  };
}
