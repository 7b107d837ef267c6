/**
 * @file Memory and disk space that a run needs, by purpose, computed from the model's config and the sizes of the work, and
 * compared with what is available. Used by `train --dry-run`, before weights are downloaded or an engine is opened. The size
 * of the state is exact; intermediate results are estimated, and compared with measured peaks in docs/log.md.
 */
import {
  type EngineName,
  type EngineSetting,
  type Freeze,
  type Precision,
  type SamplerWeights,
  weightForm,
} from '../engine/choices.js';
import { gpuMemoryLimit, nvidiaGpus } from '../engine/cuda.js';
import { chooseEngine } from '../engine/install/choose.js';
import { findInstalledEngine } from '../engine/install/installed.js';
import { tableSize } from '../engine/lowering/shapes.js';
import { probeWebGpu, type WebGpuProbe } from '../engine/webgpu/dawn.js';
import { assumedBytes } from '../engine/webgpu/device.js';
import { drawingBytes, gpuRoom, processorRoom, type Room, stateBytes, wasmHeapBytes } from '../model/load.js';
import type { ModelConfig } from '../model/network/config.js';
import { adapterSpecs } from '../model/network/lora.js';
import type { LoraOptions } from '../model/network/params.js';
import { elementCount, outputName, parameterSpecs } from '../model/network/params.js';
import { type EngineRequest, openRequestedEngine, requireWorkersFit } from '../model/open.js';
import { exactForms } from '../model/sampling/weights.js';
import { type PolicySizes, policyLayout, type TrainingLayout, trainingLayout } from '../policy/layout.js';
import { activationsPerToken, chooseUpdateShape, type UpdateShape } from '../policy/update-shape.js';
import { freeBytes, memoryLimit } from '../util/machine.js';
import type { Reporter } from '../util/reporter.js';
import { type DiskPlan, type Parts, specBytes, totalBytes } from './disk.js';

interface MemoryStage {
  readonly stage: 'sampling' | 'training';
  readonly parts: Parts;
  readonly bytes: number;
}

const floatBytes = 4;

/**
 * Node, TensorFlow and the compiled graphs, in bytes: measured as the memory of a process minus its tensors (docs/log.md). The
 * graphs of a layer take about as much for wide layers as for narrow ones, and adapters have as many as the weights.
 */
const runtimeBytes = ({ layers }: ModelConfig, use: 'sampling' | 'training', lora: LoraOptions | undefined) =>
  0.44e9 + layers * (lora !== undefined ? 15e6 : use === 'sampling' ? 5e6 : 12e6);

export interface UpdatePlan {
  /** Rows per update, and sequences per pass (absent: chosen automatically). */
  readonly batchSize: number;
  readonly microBatch?: number | undefined;
  readonly precision: Precision;
  readonly samplerWeights?: SamplerWeights | undefined;
  readonly lora?: LoraOptions | undefined;
  readonly freeze?: Freeze | undefined;
  /** Default: a processor. */
  readonly device?: Pick<PlannedDevice, 'room' | 'readsHalves'>;
  /** What the loss compares the policy with. Default: the reference. */
  readonly anchor?: 'reference' | 'sampler';
  /** Processes that compute together. Default 1. */
  readonly replicas?: number;
}

/**
 * Peak device memory of sampling (evaluation and stage 1) and of training (stage 2), in bytes. Sampling comes first, before
 * the reference and the moments exist; its own state stays allocated during training. Of several processes, that of each.
 */
export function planMemory(
  config: ModelConfig,
  sizes: PolicySizes,
  { batchSize, microBatch, precision, samplerWeights, lora, freeze, anchor, device, replicas = 1 }: UpdatePlan,
): readonly MemoryStage[] {
  const { room, readsHalves } = device ?? { room: processorRoom };
  // Almost all checkpoints have the format that the config declares.
  const formOf = exactForms({ readsHalves }, () => config.dtype);
  const form = weightForm(precision, samplerWeights);
  const layout = policyLayout(config, sizes, { form, lora, freeze, anchor, formOf, readsHalves, room, replicas });
  const weights = stateBytes(layout.parameters) + stateBytes(layout.adapters);
  const copies = stateBytes(layout.copies);
  const caches = stateBytes(layout.caches);
  const drawing = layout.sizes.slots * drawingBytes(config);
  const programs = (use: MemoryStage['stage']) => ({ 'TensorFlow and Node': runtimeBytes(config, use, lora) });
  const forSampling = {
    caches,
    ...(copies > 0 && { [`${lora === undefined ? form : 'merged'} weights for sampling`]: copies }),
  };
  const sampling = { ...programs('sampling'), weights, ...forSampling, 'logits while sampling': drawing };

  const shape = chooseUpdateShape(config, { ...sizes, batchSize, microBatch, lora, room });
  const training = {
    ...programs('training'),
    weights,
    ...takenInTurn(forSampling, layout),
    ...(lora === undefined && anchor !== 'sampler' && { 'reference weights': stateBytes(layout.reference) }),
    ...ofUpdates(config, shape, layout, replicas),
  };
  return [stage('sampling', sampling), stage('training', training)];
}

/** Peak memory of supervised training, in bytes: nothing is sampled, and there is no reference. */
export function planLearnerMemory(
  config: ModelConfig,
  shape: UpdateShape,
  lora: LoraOptions | undefined,
  device: Pick<PlannedDevice, 'readsHalves'>,
): readonly MemoryStage[] {
  const layout = trainingLayout(config, { lora, formOf: exactForms(device, () => config.dtype) });
  return [
    stage('training', {
      'TensorFlow and Node': runtimeBytes(config, 'training', lora),
      weights: stateBytes(layout.parameters) + stateBytes(layout.adapters),
      ...ofUpdates(config, shape, layout),
    }),
  ];
}

/** What updates need besides the weights. */
function ofUpdates(
  config: ModelConfig,
  { sequences, length, recompute }: UpdateShape,
  { trained, moments, gradients }: TrainingLayout,
  replicas = 1,
): Parts {
  // An output layer that is not trained is stored as bfloat16. The policy and the reference each widen it, unless it is so
  // large that it is read as stored.
  const elements = elementCount(parameterSpecs(config)[outputName(config)]!);
  const table = floatBytes * elements;
  const isWidened = !(outputName(config) in trained) && config.dtype === 'bfloat16' && elements < tableSize;
  return {
    'moments of AdamW': mostMoments(moments, replicas),
    gradients: stateBytes(gradients),
    // The owner of a tensor receives its gradients from all others.
    ...(replicas > 1 && { 'gradients from other workers': ((replicas - 1) / replicas) * stateBytes(gradients) }),
    ...(isWidened && { 'output layer in float32': 2 * table }),
    activations:
      floatBytes *
      sequences *
      length *
      (recompute.layers ? activationsPerToken(config, length, true) : keptPerToken(config)),
    // Logits of some completion tokens, their softmax and their gradient.
    'logits and their gradient': 3 * floatBytes * recompute.logitRows * config.vocabSize,
  };
}

/** Memory of sampling beyond that of the gradients: each phase returns its own to the system before the other begins. */
function takenInTurn(forSampling: Parts, { gradients }: TrainingLayout): Parts {
  const beyond = Math.max(0, totalBytes(forSampling) - stateBytes(gradients));
  return beyond > 0 ? { caches: beyond } : {};
}

/**
 * Floats per token that a layer's native ops keep: the residual stream twice, rotated queries, keys and values, the result of
 * attention, gate and up. The rest is computed again for the gradient.
 */
const keptPerToken = ({ layers, hiddenSize: D, heads: H, kvHeads: K, headDim: C, ffnSize: F }: ModelConfig) =>
  layers * (2 * D + 2 * H * C + 2 * K * C + 2 * F);

/** Bytes of moments in the process that keeps most of them. */
function mostMoments(moments: TrainingLayout['moments'], replicas: number): number {
  const bytes = new Array<number>(replicas).fill(0);
  for (const [name, spec] of Object.entries(moments)) bytes[spec.replica ?? 0]! += stateBytes({ [name]: spec });
  return Math.max(...bytes);
}

/** Memory of a run that samples and trains on a server: an estimate for the process, and copies of the adapter. */
export function planClientMemory(config: ModelConfig, lora: LoraOptions | undefined): readonly MemoryStage[] {
  const adapter = lora === undefined ? 0 : specBytes(adapterSpecs(config, lora));
  return [stage('training', { Node: clientBytes, 'copies of the adapter': adapterCopies * adapter })];
}

const clientBytes = 0.2e9;
/** Its archive, packed and unpacked, and its tensors. */
const adapterCopies = 3;

function stage(name: MemoryStage['stage'], parts: Parts): MemoryStage {
  return { stage: name, parts, bytes: totalBytes(parts) };
}

export interface Needs {
  readonly memory: readonly MemoryStage[];
  readonly disk: DiskPlan;
  /** Whose memory is planned. */
  readonly device: 'cpu' | 'gpu' | 'wasm';
  /** Processes that compute together, each of which needs that memory. Absent: 1. */
  readonly processes?: number;
  /** Bytes that the device may use (absent for a GPU that the driver does not show), and free bytes where the run would be written. */
  readonly available: { readonly memory?: number; readonly disk: number };
  /** Resources that do not suffice. */
  readonly shortfalls: readonly { readonly what: string; readonly needed: number; readonly available: number }[];
}

/** The device that a run would compute on. */
export interface PlannedDevice {
  readonly kind: Needs['device'];
  /** Bytes that a run may use; absent where they are unknown. */
  readonly memoryBytes?: number;
  readonly room: Room;
  /** As that of the engine. */
  readonly readsHalves?: boolean;
}

/** This machine's processor, with all of its memory. */
export const processor = (): PlannedDevice => ({ kind: 'cpu', memoryBytes: memoryLimit(), room: processorRoom });

/**
 * The device of an engine, without opening it. For WebGPU, looks for the adapter.
 *
 * @param probe looks for the adapter; tests replace it.
 */
export async function plannedDevice(
  engine: EngineName,
  signal: AbortSignal,
  probe: (signal: AbortSignal) => Promise<WebGpuProbe> = probeWebGpu,
): Promise<PlannedDevice> {
  if (engine === 'wasm') return { ...processor(), kind: 'wasm', memoryBytes: Math.min(memoryLimit(), wasmHeapBytes) };
  if (engine === 'webgpu') {
    const { adapter } = await probe(signal);
    const assumed = adapter && assumedBytes(adapter);
    const readsHalves = true;
    return assumed === undefined
      ? { ...processor(), readsHalves }
      : { kind: 'gpu', room: gpuRoom(assumed), readsHalves };
  }
  if (findInstalledEngine()?.variant !== 'gpu') return processor();
  const [card] = nvidiaGpus();
  if (card === undefined) return { kind: 'gpu', room: processorRoom };
  const memoryBytes = Math.min(card.memoryBytes, gpuMemoryLimit() ?? Number.POSITIVE_INFINITY);
  return { kind: 'gpu', memoryBytes, room: gpuRoom(memoryBytes) };
}

interface Weighed {
  readonly device: PlannedDevice;
  readonly folder: string;
  /** Workers that compute as well, each at `host:port`. */
  readonly workers?: readonly string[] | undefined;
}

export function weighNeeds(
  { memory, disk }: Pick<Needs, 'memory' | 'disk'>,
  { device: { kind: device, memoryBytes }, folder, workers = [] }: Weighed,
): Needs {
  // Each process has a GPU of its own, but those of this machine share its memory.
  const sharing = device === 'cpu' ? 1 + workers.filter(isHere).length : 1;
  const available = { ...(memoryBytes !== undefined && { memory: memoryBytes }), disk: freeBytes(folder) };
  const needs = [
    ...memory.map(({ stage, bytes }) => ({
      what: `memory for ${stage}${sharing === 1 ? '' : ` in ${sharing} processes`}`,
      needed: sharing * bytes,
      available: memoryBytes,
    })),
    { what: 'disk space', needed: disk.bytes, available: available.disk },
  ];
  const shortfalls = needs.flatMap(({ what, needed, available }) =>
    available !== undefined && needed > available ? [{ what, needed, available }] : [],
  );
  return { memory, disk, device, ...(workers.length > 0 && { processes: 1 + workers.length }), available, shortfalls };
}

const isHere = (worker: string) => /^(localhost|127\.[\d.]+):/.test(worker);

/** Whether the engine of a run is known, since nothing would be installed first. */
export function isInstalled(engine: EngineSetting, install: boolean): boolean {
  return engine !== 'auto' || !install || findInstalledEngine() !== undefined;
}

/**
 * @returns the engine that a run would use. If `auto` would first install one, it is assumed to succeed.
 * @throws UserError when the engine is known and cannot store or multiply weights as requested.
 */
export async function requireEngine(
  { engine, install, precision, samplerWeights, workers = [] }: EngineRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<EngineName> {
  if (!isInstalled(engine, install)) return 'tensorflow';
  // Only an open engine knows which instructions and kernels it has.
  const isSpecial = precision === 'bf16' || samplerWeights === 'int8';
  if (isSpecial) {
    const request = { engine, install: false, precision, samplerWeights };
    return (await openRequestedEngine(request, reporter, signal)).name;
  }
  const { name } = await chooseEngine({ engine, install, reporter, signal });
  requireWorkersFit(name, workers);
  return name;
}
