/**
 * @file Eager programs: the interface of session.ts, with each function run op by op on a tfjs backend. Used by the wasm
 * engine, and by tests as the reference for compiled programs.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { TypedArray } from './dtype.js';
import type { FunctionSpecs, Program, ProgramSpec, StateSpecs, TensorSpec } from './program.js';
import {
  alone,
  checkAssigned,
  checkInputs,
  checkOutputs,
  checkValues,
  lookUp,
  NumericsError,
  ProgramError,
  typed,
} from './program.js';

/** A program on the tfjs backend `backendName`, which must be registered and ready. */
export function createEagerProgram<Functions extends FunctionSpecs, State extends StateSpecs>(
  backendName: string,
  spec: ProgramSpec<Functions, State>,
): Program<Functions, State> {
  const state = new Map<string, tf.Tensor>();
  let disposed = false;

  function use(what: string): void {
    if (disposed) throw new ProgramError(`${what}: the program has been disposed`);
    if (tf.getBackend() !== backendName) void tf.setBackend(backendName);
    if (tf.getBackend() !== backendName) throw new Error(`the tfjs backend ${backendName} is not ready`);
  }

  function store(name: string, tensor: tf.Tensor): void {
    state.get(name)?.dispose();
    state.set(name, tf.keep(tensor));
  }

  const program: Program = {
    spec,
    ...alone((name, inputs) => program.run(name, inputs)),
    run(name, inputs = {}) {
      const functionSpec = lookUp(spec.functions, 'function', name);
      checkInputs(name, functionSpec, inputs);
      use(name);
      return tf.tidy(() => {
        const values: Record<string, tf.Tensor> = {};
        for (const stateName of Object.keys(spec.state)) {
          Object.defineProperty(values, stateName, {
            enumerable: true,
            get: () => {
              const tensor = state.get(stateName);
              if (tensor === undefined)
                throw new ProgramError(`${name} reads state ${stateName}, which was never written`);
              return tensor;
            },
          });
        }
        const tensors = Object.fromEntries(
          Object.entries(functionSpec.inputs).map(([input, inputSpec]) => [input, toTensor(inputSpec, inputs[input]!)]),
        );
        const result = functionSpec.body(values, tensors);
        const assigns = Object.entries(result.assign ?? {});
        for (const [key, tensor] of assigns) checkAssigned(name, key, lookUp(spec.state, 'state', key), tensor);
        checkOutputs(name, functionSpec, result.outputs ?? {});
        const outputs: Record<string, TypedArray> = {};
        for (const [key, tensor] of Object.entries(result.outputs ?? {})) {
          // A copy: some backends return the memory of the tensor, which may be state.
          outputs[key] = valuesOf(tensor).slice();
          if (functionSpec.checkNumerics === true) checkFinite(name, key, outputs[key]);
        }
        if (functionSpec.checkNumerics === true) {
          for (const [key, tensor] of assigns) checkFinite(name, key, valuesOf(tensor));
        }
        // A state may be assigned another state or an input unchanged; a clone has its own lifetime.
        for (const [key, tensor] of assigns.map(([key, tensor]) => [key, tensor.clone()] as const)) store(key, tensor);
        return outputs;
      });
    },
    write(name, values) {
      const stateSpec = lookUp(spec.state, 'state', name);
      checkValues(`state ${name}`, stateSpec, values);
      use(`write ${name}`);
      store(name, toTensor(stateSpec, values));
    },
    fill(name, value) {
      const { shape, dtype } = lookUp(spec.state, 'state', name);
      use(`fill ${name}`);
      store(name, tf.fill([...shape], value, dtype));
    },
    read(name) {
      lookUp(spec.state, 'state', name);
      use(`read ${name}`);
      const tensor = state.get(name);
      if (tensor === undefined) throw new ProgramError(`read ${name} reads state ${name}, which was never written`);
      return valuesOf(tensor).slice();
    },
    dispose() {
      for (const tensor of state.values()) tensor.dispose();
      state.clear();
      disposed = true;
    },
  };
  return typed(program, spec);
}

/** Copies the values: some backends use the array itself as the tensor's memory, and the caller may change it. */
function toTensor(spec: TensorSpec, values: TypedArray): tf.Tensor {
  return tf.tensor(values.slice(), [...spec.shape], spec.dtype);
}

/** The array may be the tensor's own memory. */
function valuesOf(tensor: tf.Tensor): TypedArray {
  return tensor.dataSync<'float32' | 'int32' | 'bool'>();
}

function checkFinite(functionName: string, tensor: string, values: TypedArray): void {
  if (!(values instanceof Float32Array)) return;
  // With both, reports NaN, as TensorFlow does.
  if (values.some(Number.isNaN)) throw new NumericsError(functionName, tensor, 'NaN');
  if (!values.every(Number.isFinite)) throw new NumericsError(functionName, tensor, 'Inf');
}
