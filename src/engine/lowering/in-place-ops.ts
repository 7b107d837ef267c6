/**
 * @file Kernels of our own, which exist only in graphs: TensorFlow ops that tfjs cannot express because they work in
 * place or give two results. ops.ts and state-ops.ts call them when tracing and compose the same result eagerly.
 */

import { type InPlaceUpdate, inPlaceUpdate, noteInPlaceUpdate, stateHandle } from '../graph/aliasing.js';
import { type Attribute, type Graph, type GraphNode, type Output, outputOf } from '../graph/graph.js';
import { readVariable } from '../graph/stored.js';
import { type Kernel, need } from './emit.js';

/** Names under which ops.ts finds the kernels below. */
export const fusedKernelNames = {
  crossEntropy: 'TinyzeroCrossEntropy',
  updateRows: 'TinyzeroUpdateRows',
  adamW: 'TinyzeroApplyAdam',
  addInto: 'TinyzeroAddInto',
  clear: 'TinyzeroClear',
} as const;

export const fusedKernels: Record<string, Kernel> = {
  /** `{ logits: [N, V], labels: int32 [N] }` -> `[loss [N], d loss / d logits [N, V]]`. */
  [fusedKernelNames.crossEntropy]: (graph, inputs) => {
    const logits = need(inputs, 'logits');
    const outputs = [{ dtype: logits.dtype, shape: logits.shape.slice(0, 1) }, logits];
    const node = graph.addNode('SparseSoftmaxCrossEntropyWithLogits', [logits, need(inputs, 'labels')], outputs, {
      attributes: { T: { type: logits.dtype }, Tlabels: { type: 'int32' } },
    });
    return [outputOf(node, 0), outputOf(node, 1)];
  },

  /**
   * `{ state: [R, ...], rows: [N, ...], indices: int32 [N] }` -> the state with `state[indices[i]] = rows[i]`, written
   * into the state's own memory. InplaceUpdate hands on its first input's buffer, so nothing is copied; the price is
   * that nothing may read the state's old value afterwards, which assign.ts checks.
   */
  [fusedKernelNames.updateRows]: (graph, inputs) => {
    const state = need(inputs, 'state');
    const handle = stateHandle(state);
    if (handle === undefined) throw new Error('updateRows works on a state tensor, not on a computed one');
    const result = graph.add('InplaceUpdate', [state, need(inputs, 'indices'), need(inputs, 'rows')], state, {
      attributes: { T: { type: state.dtype } },
    });
    const inputsOf = () => result.node.inputs.slice(1);
    noteInPlaceUpdate({ handles: [handle], writes: [result.node], inputs: inputsOf, oldValue: 'lost' }, [result]);
    return result;
  },

  /**
   * One AdamW step on the states `parameter`, `m` and `v`, see adamW in state-ops.ts for the inputs. ResourceApplyAdam
   * fuses the moments and the update into one pass over memory.
   */
  [fusedKernelNames.adamW]: (graph, inputs, { beta1, beta2, decays }) => {
    const states = ['parameter', 'm', 'v'].map((name) => need(inputs, name));
    const handles = states.map((state) => {
      const handle = stateHandle(state);
      if (handle === undefined) throw new Error('adamW works on state tensors, not on computed ones');
      return handle;
    });
    const [parameter, m, v] = handles.map((handle) => outputOf(handle, 0)) as [Output, Output, Output];
    const before = states[0] as Output;
    const gradient = need(inputs, 'gradient');
    const type = { T: { type: 'float32' } } as const;
    // Only the parameter is read before the update (by the forward pass). Reading a moment would make a second
    // reference to its memory, and TensorFlow then copies it instead of updating it in place.
    const writes: GraphNode[] = [];
    if (decays === true) {
      // parameter -= decay * parameter, in one op: as two, the products of all parameters could lie around at once.
      const shrink = graph.addNode('ResourceApplyGradientDescent', [parameter, need(inputs, 'decay'), before], [], {
        attributes: { ...type, use_locking: { bool: false } },
      });
      writes.push(shrink);
    }
    const constant = (value: number) => graph.constant('float32', [], Float32Array.of(value));
    const scalars = ['beta1Power', 'beta2Power', 'learningRate', 'epsilon'].map((name) => need(inputs, name));
    const [beta1Power, beta2Power, learningRate, epsilon] = scalars as [Output, Output, Output, Output];
    const rates = [beta1Power, beta2Power, learningRate, constant(beta1 as number), constant(beta2 as number), epsilon];
    const apply = graph.addNode('ResourceApplyAdam', [parameter, m, v, ...rates, gradient], [], {
      attributes: { ...type, use_locking: { bool: false }, use_nesterov: { bool: false } },
      control: [before.node, ...writes],
    });
    writes.push(apply);
    const update: InPlaceUpdate = {
      handles,
      writes,
      inputs: () => [...(decays === true ? [need(inputs, 'decay')] : []), ...apply.inputs.slice(handles.length)],
      // ResourceApplyAdam copies a state first whose memory is still in use.
      oldValue: 'kept',
    };
    const results = handles.map((handle, index) => readVariable(graph, handle, states[index] as Output, [apply]));
    noteInPlaceUpdate(update, results);
    return results;
  },

  /** `{ state, value }` -> the state with `value` added, at once: see addInto in state-ops.ts. */
  [fusedKernelNames.addInto]: (graph, inputs) =>
    writeAtOnce(graph, need(inputs, 'state'), (handle, type) =>
      graph.addNode('AssignAddVariableOp', [handle, need(inputs, 'value')], [], { attributes: type }),
    ),

  /** `{ state }` -> the state full of zeros, at once. */
  [fusedKernelNames.clear]: (graph, inputs) => {
    const state = need(inputs, 'state');
    const zeros = graph.add(
      'Fill',
      [graph.ints(state.shape), graph.constant(state.dtype, [], Float32Array.of(0))],
      state,
      {
        attributes: { T: { type: state.dtype }, index_type: { type: 'int32' } },
      },
    );
    return writeAtOnce(graph, state, (handle, type) =>
      graph.addNode('AssignVariableOp', [handle, zeros], [], { attributes: type }),
    );
  },
};

/** A write into a state that waits for nothing but its own inputs. Several of one state are one update. */
function writeAtOnce(
  graph: Graph,
  state: Output,
  write: (handle: Output, attributes: Record<string, Attribute>) => GraphNode,
): Output {
  const handle = stateHandle(state);
  if (handle === undefined) throw new Error('only state tensors can be written at once, not computed ones');
  const node = write(outputOf(handle, 0), { dtype: { type: state.dtype } });
  const update: InPlaceUpdate = inPlaceUpdate(state) ?? {
    ...{ handles: [handle], writes: [], oldValue: 'lost', atOnce: true },
    inputs: () => [],
  };
  update.writes.push(node);
  const result = readVariable(graph, handle, state, [...update.writes]);
  noteInPlaceUpdate(update, [result]);
  return result;
}
