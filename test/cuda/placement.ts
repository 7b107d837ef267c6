/**
 * @file Where TensorFlow runs the nodes of a graph on a machine with a GPU, and what crosses between host and GPU. Follows
 * placer.cc and memory_types.cc of tensorflow/core/common_runtime: a node runs on the GPU if that has a kernel for its types;
 * all that touch a resource run beside it; a tensor is copied once to each memory in which it is read.
 */
import type { GraphDType } from '../../src/engine/dtype.js';
import { bytesPerElement } from '../../src/engine/dtype.js';
import type { Graph, GraphNode, Output } from '../../src/engine/graph/graph.js';
import { sizeOf } from '../../src/engine/shape.js';
import { argumentNames, kernelFor, type Registry } from './registry.js';

export interface Crossing {
  readonly from: GraphNode;
  readonly to: GraphNode;
  readonly bytes: number;
}

export interface Placement {
  readonly nodes: number;
  /** Nodes without a kernel for the GPU and their types. */
  readonly withoutKernel: readonly GraphNode[];
  /** Nodes on the host because something that touches the same state has no kernel. */
  readonly draggedToHost: readonly GraphNode[];
  /** Nodes whose kernel on the GPU works in the host's memory: it computes on the processor. */
  readonly computedOnHost: readonly GraphNode[];
  /** Copies within a run, besides its inputs and outputs. From the GPU they make the host wait. */
  readonly toHost: readonly Crossing[];
  readonly toGpu: readonly Crossing[];
}

/** Nodes that compute nothing, whatever memory their result is in. */
const passive = new Set(['Const', 'Placeholder', 'VarHandleOp', 'NoOp', 'Identity', 'Switch', 'Merge', 'Reshape']);

/** Places the nodes of `graph`. */
export function place(registry: Registry, graph: Graph): Placement {
  const nodes = graph.nodes;
  const onGpu = new Map(nodes.map((node) => [node, kernelFor(registry, node, 'GPU') !== undefined]));
  // Handles of state are in a graph of their own.
  const isOnGpu = (node: GraphNode) => onGpu.get(node) ?? kernelFor(registry, node, 'GPU') !== undefined;
  const withoutKernel = nodes.filter((node) => !isOnGpu(node));
  const draggedToHost: GraphNode[] = [];
  const bound = new Set(withoutKernel.flatMap(resourcesOf));
  for (const node of nodes) {
    if (isOnGpu(node) && resourcesOf(node).some((handle) => bound.has(handle) || !isOnGpu(handle))) {
      draggedToHost.push(node);
      onGpu.set(node, false);
    }
  }
  const memory = new Map<GraphNode, { inputs: boolean[]; outputs: boolean[] }>();
  const memoryOf = (node: GraphNode) => {
    let known = memory.get(node);
    if (known === undefined) {
      known = hostMemory(registry, node, isOnGpu(node));
      memory.set(node, known);
    }
    return known;
  };
  const crossings = new Map<string, Crossing & { toHost: boolean }>();
  for (const node of nodes) {
    for (const [index, input] of node.inputs.entries()) {
      if (input.dtype === 'resource') continue;
      const isInHost = memoryOf(input.node).outputs[input.index]!;
      const wantsHost = memoryOf(node).inputs[index]!;
      if (isInHost === wantsHost || input.node.op === 'Placeholder') continue;
      const key = `${input.node.name}:${input.index} ${wantsHost}`;
      if (!crossings.has(key))
        crossings.set(key, { from: input.node, to: node, bytes: bytesOf(input), toHost: wantsHost });
    }
  }
  const all = [...crossings.values()];
  return {
    nodes: nodes.length,
    withoutKernel,
    draggedToHost,
    computedOnHost: nodes.filter(
      (node) =>
        isOnGpu(node) &&
        !passive.has(node.op) &&
        node.outputs.length > 0 &&
        memoryOf(node).outputs.every((host) => host),
    ),
    toHost: all.filter(({ toHost }) => toHost),
    toGpu: all.filter(({ toHost }) => !toHost),
  };
}

function resourcesOf(node: GraphNode): GraphNode[] {
  const handles = node.inputs.filter(({ dtype }) => dtype === 'resource').map((input) => input.node);
  return node.op === 'VarHandleOp' ? [...handles, node] : handles;
}

/** For each input and output, whether it is in the memory of the host. */
function hostMemory(registry: Registry, node: GraphNode, onGpu: boolean): { inputs: boolean[]; outputs: boolean[] } {
  // Inputs of a run come from the host, and its outputs go there.
  if (node.op === 'Placeholder') return { inputs: [], outputs: [true] };
  const isHost = (argument: string) => !onGpu || kernelFor(registry, node, 'GPU')!.hostArguments.has(argument);
  return {
    inputs: argumentNames(registry, node, 'inputs').map(isHost),
    outputs: argumentNames(registry, node, 'outputs').map(isHost),
  };
}

function bytesOf({ dtype, shape }: Output): number {
  return sizeOf(shape) * (bytesPerElement[dtype as Exclude<GraphDType, 'resource'>] ?? 0);
}
