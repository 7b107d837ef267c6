/** @file A single native op in a hand-made graph, to test its kernel with any input. */
import type { TypedArray } from '../../src/engine/dtype.js';
import { type Attribute, Graph, type Output } from '../../src/engine/graph/graph.js';
import { encodeConfig, encodeGraphDef, tensorName } from '../../src/engine/graph/graphdef.js';
import { findInstalledEngine } from '../../src/engine/install/installed.js';
import { cast } from '../../src/engine/lowering/emit.js';
import { type KernelsAddon, loadBinding, loadKernels } from '../../src/engine/native.js';
import type { Shape } from '../../src/engine/shape.js';

export interface OwnInput {
  readonly shape: Shape;
  readonly values: Float32Array | Int32Array;
  /** The op gets a bfloat16 tensor, rounded from the values. */
  readonly narrow?: boolean;
}

/** The kernels addon of the installed engine, if it has one. */
export function openKernels(): KernelsAddon | undefined {
  const engine = findInstalledEngine();
  if (engine?.kernelsPath === undefined) return undefined;
  loadBinding(engine.bindingPath);
  return loadKernels(engine.kernelsPath);
}

/** Runs `op` once and returns its first result, a float32 tensor. */
export function runOwnOp(
  addon: KernelsAddon,
  op: string,
  inputs: readonly OwnInput[],
  attributes: Record<string, Attribute>,
): TypedArray {
  const graph = new Graph('g');
  const feeds = inputs.map(({ shape, values }) => {
    const dtype = values instanceof Int32Array ? 'int32' : 'float32';
    return graph.add('Placeholder', [], { dtype, shape }, { attributes: { dtype: { type: dtype }, shape: { shape } } });
  });
  const given = feeds.map((feed, index): Output => (inputs[index]?.narrow ? cast(graph, feed, 'bfloat16') : feed));
  const result = graph.add(op, given, { dtype: 'float32', shape: [] }, { attributes });
  const session = addon.load(encodeGraphDef([graph]), '', encodeConfig());
  try {
    const prepared = addon.prepare(feeds.map(tensorName), [tensorName(result)]);
    const shapes = inputs.map(({ shape }) => shape);
    return addon.run(
      session,
      prepared,
      shapes,
      inputs.map(({ values }) => values),
    )[0] as TypedArray;
  } finally {
    addon.close(session);
  }
}
