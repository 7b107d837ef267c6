/** @file Nodes that may do without a kernel for the GPU, and kernels that are registered but refuse to run. */
import type { GraphNode } from '../../src/engine/graph/graph.js';

interface Reason {
  readonly reason: string;
  applies(node: GraphNode): boolean;
}

const typeOf = ({ attributes }: GraphNode) => {
  const attribute = attributes.T ?? attributes.dtype;
  return attribute !== undefined && 'type' in attribute ? attribute.type : undefined;
};

/** Why a node without a kernel is no fault. */
export const excused: readonly Reason[] = [
  {
    reason: 'int32 and bool state, which no program of tinyzero has, is kept on the host',
    applies: (node) => ['int32', 'bool'].includes(typeOf(node) ?? ''),
  },
];

/**
 * Kernels that fail when they run although they are registered (kernels/inplace_ops_functor_gpu.cu.cc lists the types that it
 * copies; kernels/sparse_xent_op.cc and xent_op.cc refuse with TF_DETERMINISTIC_OPS).
 */
export const refusing: readonly Reason[] = [
  {
    reason: 'copies no bfloat16 on a GPU',
    applies: (node) => ['DeepCopy', 'InplaceUpdate'].includes(node.op) && typeOf(node) === 'bfloat16',
  },
  {
    reason: 'does not repeat its results on a GPU',
    applies: ({ op }) =>
      ['SparseSoftmaxCrossEntropyWithLogits', 'SoftmaxCrossEntropyWithLogits', 'Bincount'].includes(op),
  },
];
