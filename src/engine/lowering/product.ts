/** @file Products of matrices, by TensorFlow's ops and by our own. */
import type { Graph, Output } from '../graph/graph.js';
import { broadcastShapes, type Shape } from '../shape.js';
import { reshape } from './emit.js';
import { nativeOps } from './native-ops.js';

/** Multiplications from which our own product of two matrices is faster than TensorFlow's (docs/log.md). */
const ownFrom = 8e6;

/**
 * The product over the last two axes. That of two matrices is a large one by our own op, where the graph may use it, and
 * `MatMul` otherwise, which is faster than a batch of one.
 */
export function matMul(graph: Graph, a: Output, b: Output, transposeA: boolean, transposeB: boolean): Output {
  const [rowsA, columnsA] = lastTwo(a.shape, transposeA);
  const [rowsB, columnsB] = lastTwo(b.shape, transposeB);
  if (columnsA !== rowsB) {
    const flags = `${transposeA ? ' transposed' : ''} and [${b.shape.join(', ')}]${transposeB ? ' transposed' : ''}`;
    throw new Error(`MatMul: [${a.shape.join(', ')}]${flags} do not fit`);
  }
  const type = { T: { type: a.dtype } } as const;
  if (a.shape.length === 2 && b.shape.length === 2) {
    const transposed = { transpose_a: { bool: transposeA }, transpose_b: { bool: transposeB } };
    const result = { dtype: a.dtype, shape: [rowsA, columnsB] };
    if (a.dtype === 'float32' && graph.nativeOps.has(nativeOps.product) && rowsA * columnsA * columnsB >= ownFrom) {
      const attributes = { Ta: type.T, Tb: type.T, ...transposed, round: { bool: false } };
      return graph.add(nativeOps.product, [a, b], result, { attributes });
    }
    return graph.add('MatMul', [a, b], result, { attributes: { ...type, ...transposed } });
  }
  if (b.shape.length === 2 && !transposeA) {
    // All batches are multiplied by the same matrix: one large product.
    const rows = reshape(graph, a, [-1, columnsA]);
    return reshape(graph, matMul(graph, rows, b, false, transposeB), [...a.shape.slice(0, -1), columnsB]);
  }
  const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2), 'MatMul');
  const attributes = { ...type, adj_x: { bool: transposeA }, adj_y: { bool: transposeB } };
  return graph.add('BatchMatMulV2', [a, b], { dtype: a.dtype, shape: [...batch, rowsA, columnsB] }, { attributes });
}

function lastTwo(shape: Shape, transposed: boolean): [number, number] {
  const [rows, columns] = shape.slice(-2) as [number, number];
  return transposed ? [columns, rows] : [rows, columns];
}
