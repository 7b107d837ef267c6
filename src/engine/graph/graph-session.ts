/**
 * @file A TensorFlow session: graphs are loaded once, and functions are called with arrays. Uses the kernels addon if the engine
 * has it, which loads graphs from memory and prepares their functions, otherwise tfjs-node's addon.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cluster } from '../cluster.js';
import { dtypeNumbers, type TypedArray } from '../dtype.js';
import type { Handle, KernelsAddon, NativeBinding } from '../native.js';
import type { Entry } from './compile.js';
import type { Graph } from './graph.js';
import { encodeConfig, encodeGraphDef, encodeSavedModel, replicaPrefix, savedModelTag } from './graphdef.js';

/** A call of a function on a replica, with the values of its feeds, in order. */
export interface Call {
  readonly replica: number;
  readonly values: readonly TypedArray[];
}

export interface GraphSession {
  /** Calls a function, on several replicas at the same time; returns the values that each fetches. */
  run(entry: Entry, calls: readonly Call[]): TypedArray[][];
  /** Calls a function on one replica, without waiting for it. */
  start(entry: Entry, call: Call): Promise<TypedArray[]>;
  /** Frees all resources of the graphs. */
  close(): void;
}

/** A session of `graphs`, which share their resources. Each process of a cluster has a copy of them; that needs the addon. */
export function openGraphs(
  binding: NativeBinding,
  addon: KernelsAddon | undefined,
  graphs: readonly Graph[],
  cluster?: Cluster,
): GraphSession {
  return addon === undefined ? openWithBinding(binding, graphs) : openWithAddon(addon, graphs, cluster);
}

function openWithAddon(addon: KernelsAddon, graphs: readonly Graph[], cluster: Cluster | undefined): GraphSession {
  const { target = '', addresses = [] } = cluster ?? {};
  const session = addon.load(encodeGraphDef(graphs, addresses.length || 1), target, encodeConfig(addresses));
  const prepared = new Map<string, Handle>();
  const prepare = ({ feedNames, fetchNames }: Entry, calls: readonly Call[]): Handle => {
    // Every function fetches something, and no two fetch the same tensors.
    const key = `${fetchNames[0]} ${calls.map(({ replica }) => replica)}`;
    let handle = prepared.get(key);
    if (handle === undefined) {
      const everywhere = (names: readonly string[]) =>
        calls.flatMap(({ replica }) => names.map((name) => `${replicaPrefix(replica)}${name}`));
      handle = addon.prepare(everywhere(feedNames), everywhere(fetchNames));
      prepared.set(key, handle);
    }
    return handle;
  };
  const shapesOf = ({ feeds }: Entry) => feeds.map(({ spec }) => spec.shape);
  return {
    run(entry, calls) {
      const shapes = calls.flatMap(() => shapesOf(entry));
      const values = calls.flatMap((call) => call.values);
      const results = addon.run(session, prepare(entry, calls), shapes, values);
      const count = entry.fetchNames.length;
      return calls.map((_, i) => results.slice(i * count, (i + 1) * count));
    },
    start: (entry, call) => addon.start(session, prepare(entry, [call]), shapesOf(entry), call.values),
    close: () => addon.close(session),
  };
}

function openWithBinding(binding: NativeBinding, graphs: readonly Graph[]): GraphSession {
  const session = loadSavedModel(binding, encodeSavedModel(graphs));
  const run = ({ feeds, feedNames, fetchNames }: Entry, values: readonly TypedArray[]): TypedArray[] => {
    const fed: number[] = [];
    try {
      for (const [index, { spec }] of feeds.entries()) {
        fed.push(binding.createTensor(spec.shape, dtypeNumbers[spec.dtype], values[index]!));
      }
      return binding.runSavedModel(session, fed, feedNames.join(), fetchNames.join()).map(({ id }) => {
        const result = binding.tensorDataSync(id);
        binding.deleteTensor(id);
        return result;
      });
    } finally {
      for (const id of fed) binding.deleteTensor(id);
    }
  };
  return {
    run: (entry, calls) => calls.map(({ values }) => run(entry, values)),
    start: async (entry, { values }) => run(entry, values),
    close: () => binding.deleteSavedModel(session),
  };
}

/** The binding can only load from a folder, which is not needed afterwards. */
function loadSavedModel(binding: NativeBinding, savedModel: Uint8Array): number {
  const folder = mkdtempSync(join(tmpdir(), 'tinyzero-graph-'));
  try {
    writeFileSync(join(folder, 'saved_model.pb'), savedModel);
    return binding.loadSavedModel(folder, savedModelTag);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
