/**
 * @file A policy whose model is on a server of the Tinker API. It samples, scores and trains there. This process holds only
 * tokens, numbers and a copy of the adapter at the last save. The synchronous requests `load` and `loadTrained` take effect
 * at the next asynchronous call.
 *
 * An update is exactly A*PO's. At ratio 1, the gradient of the server's loss `importance_sampling`, with the same advantage
 * on every token of a completion, is that advantage times the gradient of the completion's log-prob. Each row is therefore
 * sent with the derivative of its own loss as its advantage, corrected for the server's scaling of rows (rows.ts).
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseTarGzip } from 'nanotar';
import { openAdapter, readAdapterConfig } from '../../model/checkpoint/adapter.js';
import { closeSafetensors } from '../../model/checkpoint/safetensors.js';
import type { ModelConfig } from '../../model/network/config.js';
import type { CompletionRow } from '../../model/network/log-probs.js';
import { tokensOf } from '../../model/network/log-probs.js';
import { adapterSpecs } from '../../model/network/lora.js';
import type { LoraOptions, ParameterSpecs } from '../../model/network/params.js';
import { UserError } from '../../util/errors.js';
import { keyedRandom } from '../../util/random.js';
import { mean } from '../../util/statistics.js';
import type { PlacedPolicy, PlacedUpdate, ServerState } from '../placed.js';
import type { TrainingOptions } from '../policy.js';
import type { UpdateBatch } from '../update.js';
import type { TinkerClient } from './client.js';
import { TinkerError } from './connection.js';
import { type LossScale, lossAndSlope, probeScale, scoringDatum, trainingDatum } from './rows.js';
import { sampleOnServer } from './sampling.js';

interface TinkerPolicyOptions {
  readonly config: ModelConfig;
  /** The base model's name on the server. */
  readonly baseModel: string;
  /** Absent if the policy only samples from the base model. */
  readonly training?: Pick<TrainingOptions, 'lora' | 'loss' | 'optimizer' | 'seed'> | undefined;
  /** A prompt for the probe of the loss's scale. */
  readonly probeIds: readonly number[];
  /** Receives findings about the server, one line each. */
  readonly onNote: (line: string) => void;
}

/**
 * The server's name for `model`. It may differ if `model` is a folder.
 *
 * @param named the name in `--tinker-model`. @throws UserError that lists the server's models.
 */
export async function findTinkerModel(client: TinkerClient, model: string, named?: string): Promise<string> {
  const supported = await client.supportedModels();
  const found = [named ?? model, ...(named === undefined ? [resolve(model)] : [])].find((name) =>
    supported.includes(name),
  );
  if (found !== undefined) return found;
  throw new UserError({
    problem: `The Tinker server at ${client.url} does not have the model ${named ?? model}.`,
    found: supported.length === 0 ? 'no model' : supported.slice(0, 20).join(', '),
    fix:
      named === undefined
        ? 'Give one of these as --model, or with --tinker-model if --model is a folder with its tokenizer.'
        : 'Give one of these as --tinker-model.',
  });
}

/** The state that the server's model must have at the next call. */
type Wanted = { readonly kind: 'base' } | { readonly kind: 'saved'; readonly path: string };

export function tinkerPolicy(client: TinkerClient, options: TinkerPolicyOptions): PlacedPolicy {
  const { config, baseModel, training, probeIds, onNote } = options;
  const { seed = 0 } = training ?? {};
  const lora = training?.lora ?? noAdapter;
  const specs = adapterSpecs(config, lora);
  const draw = (what: string) => keyedRandom(seed, 'tinker', what).int(0, 2 ** 31 - 1);
  let wanted: Wanted | undefined = { kind: 'base' };
  /** The trained model on the server; undefined while the policy is the base model. */
  let model: string | undefined;
  /** The reference: a second model that is never trained. With its initial adapter it computes what the base does. */
  let reference: string | undefined;
  let scale: LossScale | undefined;
  /** Paths of the weights saved for sampling, and with the optimiser's state; undefined once the weights change. */
  let forSampling: string | undefined;
  let state: string | undefined;
  let saves = 0;
  /** Whether an update has been seen to change log-probs. */
  let learns = false;
  let copy: ReadonlyMap<string, Float32Array> = new Map();

  const changed = () => {
    forSampling = undefined;
    state = undefined;
  };
  const unload = async (signal?: AbortSignal) => {
    const old = model;
    model = undefined;
    changed();
    if (old !== undefined) await client.unloadModel(old, signal);
  };
  const create = () => client.createModel(baseModel, { rank: lora.rank, seed: draw('adapter') });
  /** Brings the server's model into the requested state. */
  const settle = async () => {
    if (wanted === undefined) return;
    await unload();
    if (wanted.kind === 'saved') {
      model = await create();
      // Must be a new model's first call: services refuse to load into a model that was used.
      await loadKept(client, model, wanted.path);
    }
    wanted = undefined;
  };
  const trained = async (): Promise<string> => {
    await settle();
    if (scale === undefined) {
      scale = await probeScale(client, baseModel, probeIds, { rank: lora.rank, seed: draw('probe') });
      onNote(`The server ${scale.title}; advantages are scaled to match.`);
    }
    model ??= await create();
    return model;
  };
  const referenceModel = async () => {
    reference ??= await create();
    return reference;
  };
  const saveForSampling = async (of: string) => {
    forSampling ??= await client.saveForSampler(of, `tinyzero-${++saves}`);
    return forSampling;
  };
  const scored = async (of: string, rows: readonly CompletionRow[]) =>
    ofCompletions(rows, await client.forward(of, rows.map(scoringDatum)));

  const server: ServerState = {
    async save() {
      const of = await trained();
      if (state === undefined) {
        const path = await client.saveState(of, `tinyzero-${++saves}`);
        copy = await readAdapterArchive(await client.archive(await saveForSampling(of)), config, lora, specs);
        state = path;
      }
      return { url: client.url, baseModel, path: state };
    },
    restore(saved) {
      if (saved.baseModel !== baseModel) {
        throw new UserError({
          problem: 'The saved state belongs to a different model.',
          expected: baseModel,
          found: saved.baseModel,
        });
      }
      wanted = { kind: 'saved', path: saved.path };
    },
  };

  return {
    config,
    specs,
    saved: specs,
    momentSpecs: {},
    server,
    load: () => {
      wanted = { kind: 'base' };
    },
    loadReference: () => {},
    loadTrained: (read) => {
      copy = new Map(Object.keys(specs).map((name) => [name, read(name)]));
    },
    loadMoments: () => {},
    read(name) {
      const values = copy.get(name);
      if (values === undefined) throw new Error(`the adapter has no copy of ${name}`);
      return values;
    },
    async sample(rollouts, sampleOptions) {
      await settle();
      const modelPath = model && (await saveForSampling(model));
      return await sampleOnServer(client, { baseModel, modelPath }, rollouts, sampleOptions);
    },
    async score(rows, temperature) {
      if (temperature !== 1) throw new Error('servers of the Tinker API score at temperature 1');
      return await scored(await trained(), rows);
    },
    async update({ rows, advantages, temperature, learningRate }: UpdateBatch): Promise<PlacedUpdate> {
      if (training?.lora === undefined) throw new Error('this policy was built without training of an adapter');
      const { loss, optimizer } = training;
      if (temperature !== 1) throw new Error('servers of the Tinker API train at temperature 1');
      const of = await trained();
      const [logProbs, refLogProbs] = await Promise.all([scored(of, rows), scored(await referenceModel(), rows)]);
      const losses = rows.map((_, i) =>
        lossAndSlope(loss, total(logProbs[i]!) - total(refLogProbs[i]!), advantages[i]!),
      );
      const factors = scale!.factors(rows.map((row) => tokensOf(row) - 1));
      const data = rows.map((row, i) => trainingDatum(row, logProbs[i]!, -losses[i]!.slope * factors[i]!));
      requireFinite(
        client,
        data.flatMap(({ inputs }) => [inputs.advantages!, inputs.logprobs!]),
      );
      await client.forwardBackward(of, data);
      changed();
      await client.optimStep(of, {
        learning_rate: learningRate,
        beta1: optimizer.beta1,
        beta2: optimizer.beta2,
        eps: optimizer.epsilon,
        weight_decay: optimizer.weightDecay,
      });
      if (!learns && learningRate > 0 && losses.some(({ slope }) => Math.abs(slope) > leastSlope)) {
        requireMoved(client, logProbs, await scored(of, rows));
        learns = true;
      }
      return { logProbs, refLogProbs, loss: mean(losses.map(({ value }) => value)) };
    },
    dispose() {
      // Frees the adapter's slot. If this fails, the server frees it some minutes after the last heartbeat.
      const signal = AbortSignal.timeout(farewellMs);
      unload(signal).catch(() => {});
      if (reference !== undefined) client.unloadModel(reference, signal).catch(() => {});
    },
  };
}

/** Longest wait for the server at the end of a run. */
const farewellMs = 5000;

const noAdapter: LoraOptions = { rank: 1, alpha: 1, targets: [] };

/** @throws UserError when the server does not have the state. */
async function loadKept(client: TinkerClient, model: string, path: string): Promise<void> {
  try {
    await client.loadState(model, path);
  } catch (error) {
    if (!(error instanceof TinkerError) || error.status !== 404) throw error;
    throw new UserError(
      {
        problem: `The Tinker server at ${client.url} no longer has the state of this run, ${path}.`,
        fix: 'Restart the server with its previous checkpoints. The checkpoints in the run folder are adapters; `tinyzero eval --model FOLDER` evaluates them.',
      },
      { cause: error },
    );
  }
}

/** A batch whose derivatives are all smaller does not change the weights. */
const leastSlope = 1e-8;

/** The last `[C]` values of each row's `[L]`. */
function ofCompletions(rows: readonly CompletionRow[], values: readonly (readonly number[])[]): Float32Array[] {
  return rows.map(({ completionIds }, i) => Float32Array.from(values[i]!.slice(-completionIds.length)));
}

/** Summed in float64, in order. */
const total = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0);

function requireFinite({ url }: TinkerClient, values: readonly (readonly number[])[]): void {
  if (values.every((list) => list.every(Number.isFinite))) return;
  throw new UserError({
    problem: `The Tinker server at ${url} returned log-probs that are not finite. The update was not applied.`,
    fix: 'A smaller --lr usually helps. The run can be resumed from its last checkpoint.',
  });
}

/** @throws UserError when an update did not change any log-prob. */
function requireMoved({ url }: TinkerClient, before: readonly Float32Array[], after: readonly Float32Array[]): void {
  if (before.some((row, i) => row.some((value, j) => value !== after[i]![j]))) return;
  throw new UserError({
    problem: `The first update had no effect on the Tinker server at ${url}: all log-probs are unchanged.`,
    fix: 'If the learning rate is very small, raise --lr.',
  });
}

/**
 * The adapter's tensors, float32, by the names in `specs`. B is multiplied by the archive's alpha / `lora.alpha`, so that
 * the adapter computes the same function with `lora.alpha`.
 *
 * @throws UserError when it is not an adapter for these layers with this rank.
 */
async function readAdapterArchive(
  archive: Uint8Array,
  config: ModelConfig,
  lora: LoraOptions,
  specs: ParameterSpecs,
): Promise<Map<string, Float32Array>> {
  const folder = mkdtempSync(join(tmpdir(), 'tinyzero-adapter-'));
  try {
    for (const { name, type, data } of await parseTarGzip(archive)) {
      // Files are looked up by their base name, so no path in the archive can leave the folder.
      const file = basename(name);
      if (type === 'file' && data !== undefined && /^adapter_[\w.]+$/.test(file))
        writeFileSync(join(folder, file), data);
    }
    const adapter = readAdapterConfig(folder);
    if (adapter === undefined || adapter.rank !== lora.rank) {
      throw new UserError({
        problem: 'The Tinker server sent an archive that is not the trained adapter.',
        expected: `an adapter of rank ${lora.rank}`,
        found: adapter === undefined ? 'no adapter_config.json' : `rank ${adapter.rank}`,
      });
    }
    const opened = openAdapter(folder, config, adapter.rank);
    try {
      const missing = Object.keys(specs).filter((name) => !(name in opened.specs));
      if (missing[0] !== undefined || Object.keys(opened.specs).length !== Object.keys(specs).length) {
        throw new UserError({
          problem: 'The Tinker server sent an adapter with unexpected layers.',
          expected: Object.keys(specs).join(', '),
          found: Object.keys(opened.specs).join(', '),
        });
      }
      const factor = adapter.alpha / lora.alpha;
      return new Map(
        Object.keys(specs).map((name) => {
          const values = opened.read(name);
          return [name, name.endsWith('.lora_B.weight') ? values.map((value) => value * factor) : values];
        }),
      );
    } finally {
      closeSafetensors(opened.file);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
