/**
 * @file Lowerings to TensorFlow ops for which tfjs has no kernel: they update state in place or have two results. ops/ uses them
 * while tracing and composes the same results on eager engines.
 */
import { type InPlaceUpdate, noteInPlaceUpdate, stateHandles, updateAtOnce } from '../graph/aliasing.js';
import { type Graph, type GraphNode, type Output, outputOf } from '../graph/graph.js';
import { readVariable } from '../graph/stored.js';
import { type Shape, sizeOf, take } from '../shape.js';
import { type Inputs, type Lowering, reshape, scalar } from './emit.js';

/** Names of the ops; tfjs finds the lowerings under the same names. */
export const tensorflowOps = {
  crossEntropy: 'TinyzeroCrossEntropy',
  updateRows: 'TinyzeroUpdateRows',
  adamW: 'TinyzeroApplyAdam',
  addInto: 'TinyzeroAddInto',
  addRowsInto: 'TinyzeroAddRowsInto',
  clear: 'TinyzeroZeros',
} as const;

type AdamWInputs = Inputs<'parameter' | 'm' | 'v' | 'gradient'> &
  Inputs<'learningRate' | 'beta1Power' | 'beta2Power' | 'epsilon' | 'decay'>;

interface AdamWAttributes {
  readonly beta1: number;
  readonly beta2: number;
  readonly decays: boolean;
}

export const tensorflowLowerings = {
  /** `{ logits: [N, V], labels: int32 [N] }` -> `[loss [N], d loss / d logits [N, V]]`. */
  [tensorflowOps.crossEntropy]: (graph, { logits, labels }: Inputs<'logits' | 'labels'>) => {
    const outputs = [{ dtype: logits.dtype, shape: logits.shape.slice(0, 1) }, logits];
    const node = graph.addNode('SparseSoftmaxCrossEntropyWithLogits', [logits, labels], outputs, {
      attributes: { T: { type: logits.dtype }, Tlabels: { type: 'int32' } },
    });
    return [outputOf(node, 0), outputOf(node, 1)];
  },

  /**
   * `{ state: [R, ...], rows: [N, ...], indices: int32 [N] }` -> the state with `state[indices[i]] = rows[i]`, written
   * into the state's own memory. InplaceUpdate forwards its first input's buffer, so nothing is copied; in return, nothing may
   * read the state's old value afterwards, which commit.ts checks.
   */
  [tensorflowOps.updateRows]: (graph, { state, indices, rows }: Inputs<'state' | 'indices' | 'rows'>) => {
    const handles = stateHandles('updateRows', [state]);
    const attributes = { T: { type: state.dtype } };
    const result = graph.add('InplaceUpdate', [state, indices, rows], state, { attributes });
    const usedNow = () => result.node.inputs.slice(1);
    noteInPlaceUpdate({ handles, writes: [result.node], inputs: usedNow, oldValue: 'lost' }, [result]);
    return [result];
  },

  /**
   * One AdamW step on the states `parameter`, `m` and `v`; see adamW in state-ops.ts for the inputs. ResourceApplyAdam
   * makes one pass over memory for the moments and the update.
   */
  [tensorflowOps.adamW]: (graph, inputs: AdamWInputs, { beta1, beta2, decays }: AdamWAttributes) => {
    const states = [inputs.parameter, inputs.m, inputs.v];
    const handles = stateHandles('adamW', states);
    const [parameter, m, v] = handles.map((handle) => outputOf(handle, 0));
    const type = { T: { type: 'float32' } } as const;
    const before = inputs.parameter;
    // Only the parameter is read before the update (by the forward pass). Reading a moment would make a second
    // reference to its memory, and TensorFlow then copies it instead of updating it in place.
    const writes: GraphNode[] = [];
    if (decays) {
      // parameter -= decay * parameter, in one op: with two, the products of all parameters could be in memory at once.
      const shrink = graph.addNode('ResourceApplyGradientDescent', [parameter!, inputs.decay, before], [], {
        attributes: { ...type, use_locking: { bool: false } },
      });
      writes.push(shrink);
    }
    const betas = [scalar(graph, 'float32', beta1), scalar(graph, 'float32', beta2)];
    const rates = [inputs.beta1Power, inputs.beta2Power, inputs.learningRate, ...betas, inputs.epsilon];
    const apply = graph.addNode('ResourceApplyAdam', [parameter!, m!, v!, ...rates, inputs.gradient], [], {
      attributes: { ...type, use_locking: { bool: false }, use_nesterov: { bool: false } },
      control: [before.node, ...writes],
    });
    writes.push(apply);
    const update: InPlaceUpdate = {
      handles,
      writes,
      inputs: () => [...(decays ? [inputs.decay] : []), ...apply.inputs.slice(handles.length)],
      // ResourceApplyAdam copies a state first whose memory is still in use.
      oldValue: 'kept',
    };
    const results = handles.map((handle, index) => readVariable(graph, handle, states[index]!, [apply]));
    noteInPlaceUpdate(update, results);
    return results;
  },

  /** `{ state, value }` -> the state with `value` added immediately; see addInto in state-ops.ts. */
  [tensorflowOps.addInto]: (graph, { state, value }: Inputs<'state' | 'value'>) =>
    writeAtOnce(graph, state, { onGpu: 'AssignAddVariableOp', inPlace: 'InplaceAdd', value }),

  /**
   * `{ state, rows: [N, ...], indices: int32 [N] }` -> the state, in `[parts, ...]`, with each of `rows` added immediately, one after
   * the other. Only on a processor.
   */
  [tensorflowOps.addRowsInto]: (
    graph,
    { state, indices, rows }: Inputs<'state' | 'indices' | 'rows'>,
    { parts }: { readonly parts: number },
  ) => writeRows(graph, state, { op: 'InplaceAdd', shape: [parts, sizeOf(state.shape) / parts], indices, rows }),

  /**
   * `{ state }` -> the state filled with zeros, immediately. Not with Fill: TensorFlow would compute its value when it prepares
   * the function and keep it, which for the gradient of a large model is as much memory again.
   */
  [tensorflowOps.clear]: (graph, { state }: Inputs<'state'>) => {
    const value = graph.add('ZerosLike', [state], state, { attributes: { T: { type: state.dtype } } });
    return writeAtOnce(graph, state, { onGpu: 'AssignVariableOp', inPlace: 'InplaceUpdate', value });
  },
} satisfies Record<string, Lowering>;

/**
 * A write to a state that waits only for its own inputs. Several writes to the same state form one update. On a processor, it
 * changes the state's memory: the other ops may give the variable new memory, which is not as well packed (state-memory.ts).
 */
function writeAtOnce(
  graph: Graph,
  state: Output,
  { onGpu, inPlace, value }: { readonly onGpu: string; readonly inPlace: string; readonly value: Output },
): Output[] {
  if (graph.device === 'gpu') {
    const update = updateAtOnce(inPlace, state);
    const [handle] = take(update.handles, 1);
    const attributes = { dtype: { type: state.dtype } };
    const node = graph.addNode(onGpu, [outputOf(handle, 0), value], [], { attributes });
    update.writes.push(node);
    const result = readVariable(graph, handle, state, update.writes);
    noteInPlaceUpdate(update, [result]);
    return [result];
  }
  // As one row, which is one pass over memory.
  const shape = [1, sizeOf(state.shape)];
  return writeRows(graph, state, { op: inPlace, shape, indices: graph.ints([0]), rows: value });
}

/** Writes to some rows of a state, which is reshaped to `shape` for this. */
function writeRows(
  graph: Graph,
  state: Output,
  {
    op,
    shape,
    indices,
    rows,
  }: { readonly op: string; readonly shape: Shape; readonly indices: Output; readonly rows: Output },
): Output[] {
  const update = updateAtOnce(op, state);
  const width = shape[1]!;
  const values = reshape(graph, rows, [sizeOf(rows.shape) / width, width]);
  const attributes = { T: { type: state.dtype } };
  const type = { dtype: state.dtype, shape };
  const written = graph.add(op, [reshape(graph, state, shape), indices, values], type, { attributes });
  update.writes.push(written.node);
  noteInPlaceUpdate(update, [written]);
  return [reshape(graph, written, state.shape)];
}
