/**
 * @file How much is computed at once. On a processor, larger parts no longer help beyond these sizes. On a GPU, a pass takes as
 * long as starting its kernels unless there is much to do in each, and its memory is there to be used. Results depend on
 * the parts only by rounding.
 */

export interface Room {
  /** Bytes for drawing in all slots: logits, their softmax and its cumulative sum. */
  readonly drawingBytes: number;
  /** Bytes for the caches of all slots; absent: by the model's size. */
  readonly cacheBytes?: number;
  /** Most distinct prompts prefilled together. */
  readonly prompts: number;
  /** Bytes of a pass's activations; a share of weights, reference and moments if that is more. */
  readonly activationBytes: number;
  /** Bytes for the logits of a part of a pass, their softmax and their gradient. */
  readonly logitBytes: number;
  /** Weights with their adapters merged are kept for sampling up to this size; beyond, it computes the adapters' terms. */
  readonly mergedBytes: number;
  /** Passes for a full batch of the longest rows. Shorter rows need fewer. */
  readonly passesPerUpdate: number;
}

export const processorRoom: Room = {
  drawingBytes: 2 ** 28,
  prompts: 8,
  activationBytes: 2 ** 28,
  logitBytes: 2 ** 26,
  mergedBytes: 2 ** 28,
  passesPerUpdate: 8,
};

/** Assumed of a GPU whose driver does not say. */
const unknownGpuBytes = 8e9;

/** The room on a CUDA GPU with this memory: small shares of it, since weights, reference and moments take most. */
export function cudaRoom(memoryBytes: number = unknownGpuBytes): Room {
  return {
    drawingBytes: Math.max(processorRoom.drawingBytes, memoryBytes / 32),
    cacheBytes: Math.max(processorRoom.drawingBytes, memoryBytes / 16),
    prompts: 64,
    activationBytes: Math.max(processorRoom.activationBytes, memoryBytes / 8),
    logitBytes: Math.max(processorRoom.logitBytes, memoryBytes / 64),
    // Each of the small products of an adapter would be a kernel to start.
    mergedBytes: Number.POSITIVE_INFINITY,
    passesPerUpdate: 1,
  };
}

/** The room on the device of an engine. */
export function roomOf(engine: {
  readonly name: string;
  readonly device: 'cpu' | 'gpu';
  readonly memoryBytes?: number;
}): Room {
  return engine.name === 'tensorflow' && engine.device === 'gpu' ? cudaRoom(engine.memoryBytes) : processorRoom;
}
