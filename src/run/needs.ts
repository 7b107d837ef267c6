/**
 * @file Compares what a run needs with what is available, for `--dry-run`, before weights are downloaded or an engine is opened.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineSetting } from '../engine/choices.js';
import { nvidiaGpus } from '../engine/cuda.js';
import { chooseEngine } from '../engine/install/choose.js';
import { findInstalledEngine } from '../engine/install/installed.js';
import { bytesPerElement } from '../model/checkpoint/dtype.js';
import { type Pretrained, singleWeightFile, weightIndexFile } from '../model/checkpoint/pretrained.js';
import { isGguf } from '../model/gguf/open.js';
import { wasmHeapBytes } from '../model/load.js';
import { parameterCount } from '../model/network/params.js';
import { type EngineRequest, openRequestedEngine, requireWorkersFit } from '../model/open.js';
import { cudaRoom, processorRoom, type Room } from '../model/room.js';
import { freeBytes, memoryLimit } from '../util/machine.js';
import type { Reporter } from '../util/reporter.js';
import type { DiskPlan, MemoryStage } from './memory-plan.js';

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

export interface Weighed {
  /** `none`: the run computes elsewhere. */
  readonly engine: EngineSetting | 'none';
  readonly folder: string;
  /** Workers that compute as well, each at `host:port`. */
  readonly workers?: readonly string[] | undefined;
}

export function weighNeeds(
  { memory, disk }: Pick<Needs, 'memory' | 'disk'>,
  { engine, folder, workers = [] }: Weighed,
): Needs {
  const isCuda = engine !== 'wasm' && engine !== 'none' && findInstalledEngine()?.variant === 'gpu';
  const device = engine === 'wasm' ? 'wasm' : isCuda ? 'gpu' : 'cpu';
  // Each process has a GPU of its own, but those of this machine share its memory.
  const sharing = device === 'cpu' ? 1 + workers.filter(isHere).length : 1;
  const memoryBytes = isCuda
    ? nvidiaGpus()[0]?.memoryBytes
    : Math.min(memoryLimit(), device === 'wasm' ? wasmHeapBytes : Infinity);
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

/** The room that a run would have on the engine that is installed. */
export function plannedRoom(engine: EngineSetting): Room {
  const isCuda = (engine === 'auto' || engine === 'tensorflow') && findInstalledEngine()?.variant === 'gpu';
  const [card] = isCuda ? nvidiaGpus() : [];
  return card === undefined ? processorRoom : cudaRoom(card.memoryBytes);
}

/** Bytes of weights that a run would still have to download. */
export function missingBytes(name: string, { folder, config }: Pick<Pretrained, 'folder' | 'config'>): number {
  const isHere = isGguf(name) || [singleWeightFile, weightIndexFile].some((file) => existsSync(join(folder, file)));
  return isHere ? 0 : parameterCount(config) * bytesPerElement[config.dtype];
}

/** @throws UserError when the engine is known and cannot store or multiply weights as requested. */
export async function requireEngine(
  { engine, install, precision, samplerWeights, workers = [] }: EngineRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const isCertain = engine !== 'auto' || !install || findInstalledEngine() !== undefined;
  if (!isCertain) return;
  // Only an open engine knows which instructions and kernels it has.
  const isSpecial = precision === 'bf16' || samplerWeights === 'int8';
  if (isSpecial) await openRequestedEngine({ engine, install: false, precision, samplerWeights }, reporter, signal);
  else requireWorkersFit((await chooseEngine({ engine, install: false, reporter, signal })).name, workers);
}
