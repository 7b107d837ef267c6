/**
 * @file Compiled programs: every function traced once, all graphs in one SavedModel, one native call per run. State
 * lives in TensorFlow resource variables, which all functions of a session share and which stay on the device.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileFunction, type Entry } from './compile.js';
import type { TypedArray } from './dtype.js';
import { filled } from './emit.js';
import { Graph, plainName } from './graph.js';
import { encodeSavedModel, savedModelTag } from './graphdef.js';
import { opsWithProducts } from './kernels-native.js';
import { feed, type NativeBinding, take } from './native.js';
import type { FunctionSpec, Program, ProgramSpec } from './program.js';
import { checkInputs, checkValues, lookUp, NumericsError, ProgramError } from './program.js';
import { addHandles, addStateAccess } from './state-access.js';

/**
 * Traces and loads `spec`.
 *
 * @param nativeOps ops of our own that the graphs may use.
 * @throws TraceError for what cannot be compiled, ProgramError for a body whose result does not fit the state.
 */
export function createSessionProgram(
  binding: NativeBinding,
  spec: ProgramSpec,
  nativeOps: ReadonlySet<string>,
): Program {
  const stateGraph = new Graph('state');
  const handles = addHandles(stateGraph, spec.state);
  const access = addStateAccess(stateGraph, spec.state, handles);
  const entries = new Map<string, Entry>();
  const graphs = [stateGraph];
  for (const [index, [name, functionSpec]] of Object.entries(spec.functions).entries()) {
    const graph = new Graph(`fn_${index}_${plainName(name)}`, usableOps(nativeOps, functionSpec));
    entries.set(name, compileFunction(graph, name, functionSpec, spec.state, handles));
    graphs.push(graph);
  }
  let session: number | undefined = loadSession(binding, encodeSavedModel(graphs));
  const written = new Set<string>();

  function call(name: string, entry: Entry, inputs: Readonly<Record<string, TypedArray>>): Record<string, TypedArray> {
    if (session === undefined) throw new ProgramError(`${name}: the program has been disposed`);
    for (const state of entry.reads) {
      if (!written.has(state)) throw new ProgramError(`${name} reads state ${state}, which was never written`);
    }
    const fed: number[] = [];
    try {
      for (const { name: input, spec: inputSpec } of entry.feeds) {
        fed.push(feed(binding, inputSpec.dtype, inputSpec.shape, inputs[input] as TypedArray));
      }
      const results = binding.runSavedModel(session, fed, entry.feedNames, entry.fetchNames);
      for (const state of entry.writes) written.add(state);
      const outputs: Record<string, TypedArray> = {};
      results.forEach((result, index) => {
        const values = take(binding, result);
        const output = entry.fetches[index];
        if (output !== undefined) outputs[output] = values;
      });
      return outputs;
    } catch (error) {
      throw explained(name, error);
    } finally {
      for (const id of fed) binding.deleteTensor(id);
    }
  }

  return {
    spec,
    run(name, inputs = {}) {
      const functionSpec = lookUp(spec.functions, 'function', name);
      checkInputs(name, functionSpec, inputs);
      return call(name, entries.get(name) as Entry, inputs);
    },
    write(name, values) {
      const stateSpec = lookUp(spec.state, 'state', name);
      checkValues(`state ${name}`, stateSpec, values);
      const { entry, index } = access.write(name, stateSpec.shape);
      call(`write ${name}`, entry, { index, values });
    },
    fill(name, value) {
      const { dtype, shape } = lookUp(spec.state, 'state', name);
      const { entry, index } = access.write(
        name,
        shape.map(() => 1),
      );
      call(`fill ${name}`, entry, {
        index,
        values: filled(dtype, value),
      });
    },
    read(name) {
      lookUp(spec.state, 'state', name);
      const { entry, index } = access.read(name);
      return call(`read ${name}`, entry, { index }).values as TypedArray;
    },
    dispose() {
      if (session !== undefined) binding.deleteSavedModel(session);
      session = undefined;
    },
  };
}

/** XLA knows only TensorFlow's ops, and products are rounded to bfloat16 only where they are ops. */
function usableOps(nativeOps: ReadonlySet<string>, { xla, precision }: FunctionSpec): ReadonlySet<string> {
  if (xla === true) return new Set();
  return precision === 'bf16' ? new Set([...nativeOps].filter((op) => !opsWithProducts.has(op))) : nativeOps;
}

function loadSession(binding: NativeBinding, savedModel: Uint8Array): number {
  const folder = mkdtempSync(join(tmpdir(), 'tinyzero-graph-'));
  try {
    writeFileSync(join(folder, 'saved_model.pb'), savedModel);
    return binding.loadSavedModel(folder, savedModelTag);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function explained(functionName: string, error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const numerics = /tinyzero:(.*?): : Tensor had (.*?) values/.exec(error.message);
  if (numerics === null) return new Error(`${functionName}: ${error.message}`, { cause: error });
  return new NumericsError(
    functionName,
    numerics[1] as string,
    (numerics[2] as string).includes('NaN') ? 'NaN' : 'Inf',
  );
}
