/**
 * @file The first steps of every command that runs a model: find the model (downloading a hub id), read its config and
 * tokenizer, and open an engine. Only the last step loads native code, so that a wrong path or a broken file is reported at
 * once.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from '../engine/backend.js';
import {
  bf16WithoutInstructions,
  type EngineName,
  type EngineSetting,
  type Precision,
  type SamplerWeights,
} from '../engine/choices.js';
import { chooseEngine } from '../engine/install/choose.js';
import { exitCodes, UserError } from '../util/errors.js';
import { formatBytes } from '../util/format.js';
import type { Reporter, Transfer } from '../util/reporter.js';
import { adapterConfigFile, mergedWeights, readAdapterConfig } from './checkpoint/adapter.js';
import { describePretrained, openWeights, type Pretrained, type Weights } from './checkpoint/pretrained.js';
import { checkVocabulary, loadTokenizer, type Tokenizer } from './checkpoint/tokenizer.js';
import { ggufFolder, isGguf, openGgufWeights } from './gguf/open.js';
import { resolveModel } from './hub/model.js';
import type { HubProgress } from './hub/repo.js';
import type { ModelConfig } from './network/config.js';
import { shippedModel } from './shipped.js';

export interface OpenModel {
  readonly pretrained: Pretrained;
  readonly tokenizer: Tokenizer;
  /** The folder of its files. */
  readonly tokenizerFolder: string;
}

/**
 * Opens a model and its tokenizer.
 *
 * @param reference a folder, a GGUF file, a hub id, or the name of a model that comes with tinyzero.
 * @throws UserError when there is no such model, or it cannot be used.
 */
export async function openModel(reference: string, reporter: Reporter, signal: AbortSignal): Promise<OpenModel> {
  const { folder, openWeights: open } = await findModel(reference, true, reporter, signal);
  const adapter = readAdapterConfig(folder);
  const base = adapter && (await findBase(folder, adapter.base, true, reporter, signal));
  const description = describeAdapted(folder, base?.folder);
  let weights = (base?.openWeights ?? open)(description.config);
  try {
    if (adapter !== undefined) weights = mergedWeights(folder, adapter, description.config, weights);
    const files = tokenizerFolder(folder, base?.folder);
    const tokenizer = loadTokenizer(files);
    checkVocabulary(tokenizer, description.config, folder);
    return { pretrained: { ...description, weights }, tokenizer, tokenizerFolder: files };
  } catch (error) {
    weights.close();
    throw error;
  }
}

/** A model without its weights. */
export interface DescribedModel {
  readonly pretrained: Omit<Pretrained, 'weights'>;
  readonly tokenizer: Tokenizer;
}

/** As {@link openModel}, but the weights are neither downloaded nor read. */
export async function describeModel(
  reference: string,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<DescribedModel> {
  const { folder } = await findModel(reference, false, reporter, signal);
  const adapter = readAdapterConfig(folder);
  const base = adapter && (await findBase(folder, adapter.base, false, reporter, signal));
  const pretrained = describeAdapted(folder, base?.folder);
  const tokenizer = loadTokenizer(tokenizerFolder(folder, base?.folder));
  checkVocabulary(tokenizer, pretrained.config, folder);
  return { pretrained, tokenizer };
}

/** The base's config and tokenizer, since PEFT's folders have no config.json and often no tokenizer. */
function describeAdapted(folder: string, base: string | undefined): Omit<Pretrained, 'weights'> {
  if (base === undefined) return describePretrained(folder);
  return { ...describePretrained(existsSync(join(folder, 'config.json')) ? folder : base), adapterFolder: folder };
}

function tokenizerFolder(folder: string, base: string | undefined): string {
  return base === undefined || existsSync(join(folder, 'tokenizer.json')) ? folder : base;
}

async function findBase(
  folder: string,
  base: string,
  weights: boolean,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<Place> {
  try {
    return await findModel(base, weights, reporter, signal);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(
      {
        problem: `The adapter in ${folder} needs its base model, ${base}. ${error.message}`,
        fix: `If the base was moved, change base_model_name_or_path in ${join(folder, adapterConfigFile)}.`,
      },
      { cause: error },
    );
  }
}

/** Where the parts of a model are. */
interface Place {
  /** All but the weights; of a GGUF file a folder in the cache. */
  readonly folder: string;
  openWeights(config: ModelConfig): Weights;
}

async function findModel(reference: string, weights: boolean, reporter: Reporter, signal: AbortSignal): Promise<Place> {
  if (isGguf(reference)) {
    return { folder: ggufFolder(reference), openWeights: (config) => openGgufWeights(reference, config) };
  }
  const folder = await withDownloads(reference, reporter, (onProgress) =>
    resolveModel(shippedModel(reference), { signal, weights, onNotice: reporter.line, onProgress }),
  );
  return { folder, openWeights: (config) => openWeights(folder, config) };
}

/** Shows the download of `reference` while `work` runs. */
export async function withDownloads<T>(
  reference: string,
  reporter: Reporter,
  work: (onProgress: (progress: HubProgress) => void) => Promise<T>,
): Promise<T> {
  let download: Transfer | undefined;
  const onProgress = ({ receivedBytes, totalBytes }: HubProgress) => {
    // The config comes first and is small; the bar starts when the total size is known.
    if (totalBytes < 1e6) return;
    download ??= reporter.transfer(`Downloading ${reference} (${formatBytes(totalBytes)})`, totalBytes);
    download.update(receivedBytes);
  };
  return await work(onProgress).finally(() => download?.end());
}

export interface EngineRequest {
  readonly engine: EngineSetting;
  readonly install: boolean;
  readonly precision: Precision;
  /** Default: `full`. */
  readonly samplerWeights?: SamplerWeights | undefined;
  /** Additional processes that compute, each at `host:port`. */
  readonly workers?: readonly string[] | undefined;
}

/** Opens the requested engine. @throws UserError when it is unavailable, or cannot store or multiply weights as requested. */
export async function openRequestedEngine(
  request: EngineRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<Engine> {
  const { engine, install, precision, samplerWeights = 'full', workers = [] } = request;
  const { name } = await chooseEngine({ engine, install, reporter, signal });
  requirePrecision(name, precision);
  requireWorkersFit(name, workers);
  signal.throwIfAborted();
  const { openEngine } = await import('../engine/backend.js');
  const opened = await openEngine(name);
  if (samplerWeights === 'int8' && !opened.storesBytes) {
    throw usageError(
      `--sampler-weights int8 needs tinyzero's own kernels, which run on the processor. The engine is ${opened.description}.`,
      'Use --sampler-weights full.',
    );
  }
  if (precision === 'bf16' && name === 'tensorflow' && !opened.multipliesBfloat16)
    reporter.line(`Note: ${bf16WithoutInstructions}.`);
  opened.onFallback?.((sentence) => reporter.line(`Note: ${sentence}`));
  return workers.length === 0 ? opened : await opened.withWorkers!(workers);
}

/** @throws UserError (wrong usage) when the engine cannot compute in several processes. */
export function requireWorkersFit(engine: EngineName, workers: readonly string[]): void {
  if (workers.length === 0 || engine === 'tensorflow') return;
  throw usageError(
    `--workers needs the tensorflow engine, but the engine is ${engine}.`,
    'Run `tinyzero engine install`.',
  );
}

/** @throws UserError (wrong usage) when the engine does not support the precision. */
function requirePrecision(engine: EngineName, precision: Precision): void {
  if (precision !== 'bf16' || engine !== 'wasm') return;
  throw usageError(
    '--precision bf16 needs the tensorflow or webgpu engine, but the engine is wasm.',
    'Use --precision f32.',
  );
}

/** The error for invalid combinations of flags. */
export function usageError(problem: string, fix?: string): UserError {
  return new UserError({ problem, fix }, { exitCode: exitCodes.usage });
}
