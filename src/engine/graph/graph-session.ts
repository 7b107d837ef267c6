/**
 * @file A TensorFlow session: graphs are loaded once, and functions are called with arrays. Uses the kernels addon if the engine
 * has it, which loads graphs from memory and prepares their functions, otherwise tfjs-node's addon.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dtypeNumbers, type TypedArray } from '../dtype.js';
import type { Handle, KernelsAddon, NativeBinding } from '../native.js';
import type { Entry } from './compile.js';
import type { Graph } from './graph.js';
import { encodeGraphDef, encodeSavedModel, savedModelTag } from './graphdef.js';

export interface GraphSession {
  /** Calls a function with the values of its feeds, in order; returns the values that it fetches. */
  run(entry: Entry, values: readonly TypedArray[]): TypedArray[];
  /** Frees all resources of the graphs. */
  close(): void;
}

/** A session of `graphs`, which share their resources. */
export function openGraphs(
  binding: NativeBinding,
  addon: KernelsAddon | undefined,
  graphs: readonly Graph[],
): GraphSession {
  return addon === undefined ? openWithBinding(binding, graphs) : openWithAddon(addon, graphs);
}

function openWithAddon(addon: KernelsAddon, graphs: readonly Graph[]): GraphSession {
  const session = addon.load(encodeGraphDef(graphs));
  const prepared = new Map<string, Handle>();
  return {
    run(entry, values) {
      const { feeds, feedNames, fetchNames } = entry;
      // Every function fetches something, and no two fetch the same tensors.
      const key = fetchNames[0]!;
      let handle = prepared.get(key);
      if (handle === undefined) {
        handle = addon.prepare(session, feedNames, fetchNames);
        prepared.set(key, handle);
      }
      const shapes = feeds.map(({ spec }) => spec.shape);
      return addon.run(session, handle, shapes, values);
    },
    close: () => addon.close(session),
  };
}

function openWithBinding(binding: NativeBinding, graphs: readonly Graph[]): GraphSession {
  const session = loadSavedModel(binding, encodeSavedModel(graphs));
  return {
    run({ feeds, feedNames, fetchNames }, values) {
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
    },
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
