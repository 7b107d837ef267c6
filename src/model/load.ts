/**
 * @file Loads a checkpoint's weights into a program, and chooses how much is computed at once: the room of a device, and the
 * sizes of a sampling program, which are large enough for the work, bounded in memory, and rounded so that similar work
 * gives equal sizes.
 */
import type { Engine } from '../engine/backend.js';
import { unknownGpuBytes, type WeightForm } from '../engine/choices.js';
import { bytesPerElement } from '../engine/dtype.js';
import { storedType } from '../engine/graph/stored.js';
import type { FloatState, FunctionSpecs, Program, ProgramSpec, StateSpecs } from '../engine/program.js';
import { UserError } from '../util/errors.js';
import { formatBytes } from '../util/format.js';
import { eventLoopTurn } from '../util/reporter.js';
import type { Pretrained } from './checkpoint/pretrained.js';
import type { ModelConfig } from './network/config.js';
import { elementCount } from './network/params.js';
import type { CacheSizes } from './sampling/kv-cache.js';
import { exactForms, frozenState } from './sampling/weights.js';

/**
 * How much is computed at once. On a CPU, larger parts are hardly faster. On a GPU, a pass with little work per kernel takes as
 * long as launching its kernels, so parts are larger and use more memory. Results depend on the parts only by rounding.
 */
export interface Room {
  /** Bytes for drawing in all slots: logits, their softmax and its cumulative sum. */
  readonly drawingBytes: number;
  /** Bytes for the caches of all slots; absent: by the model's size. */
  readonly cacheBytes?: number;
  /** Most distinct prompts prefilled together. */
  readonly prompts: number;
  /** Bytes of a pass's activations; a share of weights, reference and moments if that is more. Adapters need little else. */
  readonly activationBytes: { readonly all: number; readonly adapters: number };
  /** Bytes for the logits of a part of a pass, their softmax and their gradient. */
  readonly logitBytes: number;
  /** Up to this size, sampling uses copies of the weights with merged adapters; beyond, it computes the adapters' terms. */
  readonly mergedBytes: number;
  /** Passes for a full batch of the longest rows, at most. Shorter rows need fewer. */
  readonly passesPerUpdate: number;
}

export const processorRoom: Room = {
  drawingBytes: 2 ** 28,
  prompts: 8,
  activationBytes: { all: 2 ** 29, adapters: 2 ** 28 },
  logitBytes: 2 ** 26,
  mergedBytes: 2 ** 28,
  passesPerUpdate: 8,
};

/** The room on a GPU with this memory: small shares of it, since weights, reference and moments take most. */
export function gpuRoom(memoryBytes: number = unknownGpuBytes): Room {
  const { all, adapters } = processorRoom.activationBytes;
  const activations = memoryBytes / 8;
  return {
    drawingBytes: Math.max(processorRoom.drawingBytes, memoryBytes / 32),
    cacheBytes: Math.max(processorRoom.drawingBytes, memoryBytes / 16),
    prompts: 64,
    activationBytes: { all: Math.max(all, activations), adapters: Math.max(adapters, activations) },
    logitBytes: Math.max(processorRoom.logitBytes, memoryBytes / 64),
    // Unmerged, each small product of an adapter would be one more kernel launch.
    mergedBytes: Number.POSITIVE_INFINITY,
    passesPerUpdate: 1,
  };
}

/** The room on the device of an engine. A processor that poses as a GPU gets a processor's room. */
export function roomOf(engine: Pick<Engine, 'name' | 'device' | 'memoryBytes' | 'assumedBytes'>): Room {
  const isCard = engine.device === 'gpu' && (engine.name === 'tensorflow' || engine.assumedBytes !== undefined);
  return isCard ? gpuRoom(engine.memoryBytes ?? engine.assumedBytes) : processorRoom;
}

interface LoadOptions {
  /** How large matrices are stored. Default `f32`: values as in the checkpoint, in 2 bytes if the engine reads these. */
  readonly form?: WeightForm;
  readonly signal?: AbortSignal;
  /** Receives the bytes of parameters loaded so far, of `total`. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** The parameters as program state, always float32. */
export function parameterState(config: ModelConfig): FloatState {
  return frozenState(config, 'f32');
}

/**
 * A program with the parameters of `pretrained` and the given `parts`. Parameters are read from the checkpoint one tensor at
 * a time; all other state is zero.
 *
 * @throws UserError when the state does not fit in memory.
 */
export async function createModelProgram<Functions extends FunctionSpecs, State extends StateSpecs>(
  engine: Engine,
  { config, folder, weights }: Pick<Pretrained, 'config' | 'folder' | 'weights'>,
  parts: ProgramSpec<Functions, State>,
  { signal, onProgress, form = 'f32' }: LoadOptions = {},
): Promise<Program<Functions>> {
  const exact = engine.readsHalves === true ? exactForms(engine, weights.dtypeOf) : undefined;
  const parameters = frozenState(config, form, exact);
  const state = { ...parameters, ...parts.state };
  checkMemory(engine, stateBytes(state), `The model in ${folder}`);
  const program = engine.createProgram({ state, functions: parts.functions });
  try {
    const total = stateBytes(parameters);
    let done = 0;
    for (const [name, spec] of Object.entries(parameters)) {
      program.write(name, weights.read(name));
      done += stateBytes({ [name]: spec });
      onProgress?.(done, total);
      await eventLoopTurn();
      signal?.throwIfAborted();
    }
    for (const name of Object.keys(parts.state)) program.fill(name, 0);
    return program;
  } catch (error) {
    program.dispose();
    throw error;
  }
}

/** Bytes of float32 or int32 state. */
export function stateBytes(state: ProgramSpec['state']): number {
  return Object.values(state).reduce((sum, spec) => {
    const { dtype, shape } = storedType(spec);
    return sum + bytesPerElement[dtype] * elementCount(shape);
  }, 0);
}

/** Total memory that the wasm engine can address. */
export const wasmHeapBytes = 2 ** 32;

/**
 * Rejects work that needs more memory than exists. Memory used by other programs is not considered: rejected work could not
 * run on an idle machine either.
 *
 * @param needed bytes; `what` is named in the error.
 * @throws UserError
 */
export function checkMemory(
  engine: Pick<Engine, 'name' | 'device' | 'memoryBytes'>,
  needed: number,
  what: string,
): void {
  const memory = engine.memoryBytes ?? Infinity;
  const where = engine.device === 'gpu' ? 'the GPU' : 'this machine';
  if (engine.name === 'wasm' && needed > wasmHeapBytes) {
    throw new UserError({
      problem: `${what} needs ${formatBytes(needed)} of memory, but the wasm engine has ${formatBytes(wasmHeapBytes)}.`,
      fix: 'Use `--engine tensorflow`.',
    });
  }
  if (needed > memory) {
    throw new UserError({
      problem: `${what} needs ${formatBytes(needed)} of memory, but ${where} has ${formatBytes(memory)}.`,
      fix: 'Use a smaller model or shorter texts.',
    });
  }
}

interface SamplingWork {
  /** Length in tokens of each distinct prompt. */
  readonly promptLengths: readonly number[];
  /** Number of tokens that all prompts begin with; less than any prompt's length. Default 0. */
  readonly sharedPrefix?: number | undefined;
  readonly rollouts: number;
  /** Rollouts that are often sampled together, such as those of an update. Default: `rollouts`. */
  readonly batch?: number | undefined;
  /** Token limit of any rollout. */
  readonly maxNewTokens: number;
  /** Most rollouts decoded at once. Default 32; beyond that, the time of a step grows in proportion to the rollouts. */
  readonly maxSlots?: number;
  /** Bytes for the caches of all slots; a single slot may exceed this. Default 1 GiB. */
  readonly maxCacheBytes?: number;
  /** Default: that of a processor. */
  readonly room?: Pick<Room, 'drawingBytes' | 'prompts'>;
}

/** Default of {@link SamplingWork.maxCacheBytes}. */
const cacheBytes = 2 ** 30;
/** Bytes for the attention scores of one prefill. */
const scoreBytes = 2 ** 28;
const maxChunk = 128;
/** Fewer shared tokens are not worth a function of their own. */
export const leastShared = 8;

/** Sizes for kv-cache.ts and sample.ts that fit `work`. */
export function samplingSizes(config: ModelConfig, work: SamplingWork): CacheSizes {
  const { promptLengths, sharedPrefix = 0, rollouts, maxNewTokens, maxSlots = 32, maxCacheBytes = cacheBytes } = work;
  const { batch, room = processorRoom } = work;
  const longest = Math.max(...promptLengths);
  // The last token of a prompt is decoded, not prefilled; the last token of a completion is never fed back.
  const sharedPositions = sharedPrefix >= leastShared ? sharedPrefix : 0;
  const own = Math.max(1, longest - 1 - sharedPositions);
  const chunk = Math.min(roundUp(own, sharedPositions > 0 ? 4 : 16), maxChunk);
  const promptPositions = sharedPositions + roundUp(own, chunk);
  const positions = Math.max(promptPositions, roundUp(longest + maxNewTokens - 1, 16));
  const bytesPerPosition = 2 * 4 * config.layers * config.kvHeads * config.headDim;
  const atMost = (bytes: number, bytesEach: number) => Math.max(1, Math.floor(bytes / bytesEach));
  const slots = Math.min(
    ...[maxSlots, rollouts],
    atMost(maxCacheBytes, bytesPerPosition * positions),
    atMost(room.drawingBytes, drawingBytes(config)),
  );
  const scoresPerPrompt = 4 * config.heads * chunk * promptPositions;
  const prompts = Math.min(
    room.prompts,
    promptLengths.length,
    slots,
    atMost(cacheBytes, bytesPerPosition * promptPositions),
    atMost(scoreBytes, scoresPerPrompt),
  );
  const admissions = Math.max(1, Math.floor(slots / 8));
  return {
    slots,
    ...(batch !== undefined && { batch }),
    positions,
    prompts,
    promptPositions,
    sharedPositions,
    chunk,
    admissions,
  };
}

/** Bytes per slot for drawing a token: logits, their softmax and its cumulative sum. */
export function drawingBytes(config: ModelConfig): number {
  return 3 * 4 * config.vocabSize;
}

export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
