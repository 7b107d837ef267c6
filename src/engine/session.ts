/**
 * @file Compiled programs: every function is traced once, all graphs share one session, a run is one native call. State
 * is held in TensorFlow resource variables, which all functions of a session share and which stay on the device.
 */
import { UserError } from '../util/errors.js';
import type { Precision } from './choices.js';
import type { TypedArray } from './dtype.js';
import { compileFunction, type Entry } from './graph/compile.js';
import { Graph, plainName } from './graph/graph.js';
import { type GraphSession, openGraphs } from './graph/graph-session.js';
import { addHandles, addStateAccess, type StateAccess } from './graph/variables.js';
import { filled } from './lowering/emit.js';
import { opsWithProducts } from './lowering/native-ops.js';
import type { KernelsAddon, NativeBinding } from './native.js';
import type { Program, ProgramSpec } from './program.js';
import { checkInputs, checkValues, lookUp, NumericsError, ProgramError } from './program.js';

/** What graphs may use of the device on which they run. */
export interface GraphDevice {
  readonly kind: 'cpu' | 'gpu';
  readonly nativeOps: ReadonlySet<string>;
  /** Precision of a function -> multiplications from which on a product of two matrices uses our own kernel. */
  readonly ownProductFrom: Partial<Readonly<Record<Precision, number>>>;
  /** Whether TensorFlow multiplies bfloat16. If not, operands are widened before its products. */
  readonly multipliesBfloat16: boolean;
}

/** A GPU with TensorFlow's kernels. Our own run on the processor: each would copy its tensors there and back. */
export const gpuDevice: GraphDevice = {
  kind: 'gpu',
  nativeOps: new Set(),
  ownProductFrom: {},
  multipliesBfloat16: true,
};

/** The graphs of a program, and how to call its functions and reach its state in them. */
export interface TracedProgram {
  readonly graphs: readonly Graph[];
  readonly entries: ReadonlyMap<string, Entry>;
  readonly access: StateAccess;
}

/**
 * Traces `spec` for a device, which need not be here.
 *
 * @throws TraceError for code that cannot be compiled, ProgramError for a body whose result does not match the state.
 */
export function traceProgram(
  spec: ProgramSpec,
  { kind, nativeOps, ownProductFrom, multipliesBfloat16 }: GraphDevice,
): TracedProgram {
  const stateGraph = new Graph('state');
  const handles = addHandles(stateGraph, spec.state);
  const access = addStateAccess(stateGraph, spec.state, handles);
  const entries = new Map<string, Entry>();
  const graphs = [stateGraph];
  for (const [index, [name, functionSpec]] of Object.entries(spec.functions).entries()) {
    const { precision = 'f32' } = functionSpec;
    const products = { precision, ownFrom: ownProductFrom[precision] ?? Number.POSITIVE_INFINITY, multipliesBfloat16 };
    const graph = new Graph(`fn_${index}_${plainName(name)}`, usableOps(nativeOps, precision), products, kind);
    entries.set(name, compileFunction(graph, name, functionSpec, spec.state, handles));
    graphs.push(graph);
  }
  return { graphs, entries, access };
}

/**
 * Traces and loads `spec`.
 *
 * @param addon absent if the engine has no native ops.
 * @throws as {@link traceProgram} does.
 */
export function createSessionProgram(
  binding: NativeBinding,
  addon: KernelsAddon | undefined,
  spec: ProgramSpec,
  device: GraphDevice,
): Program {
  const { graphs, entries, access } = traceProgram(spec, device);
  let session: GraphSession | undefined = openGraphs(binding, addon, graphs);
  const written = new Set<string>();

  function call(name: string, entry: Entry, inputs: Readonly<Record<string, TypedArray>>): Record<string, TypedArray> {
    if (session === undefined) throw new ProgramError(`${name}: the program has been disposed`);
    for (const state of entry.reads) {
      if (!written.has(state)) throw new ProgramError(`${name} reads state ${state}, which was never written`);
    }
    let results: TypedArray[];
    try {
      results = session.run(
        entry,
        entry.feeds.map((feed) => inputs[feed.name]!),
      );
    } catch (error) {
      throw explained(name, error);
    }
    for (const state of entry.writes) written.add(state);
    return Object.fromEntries(entry.fetches.map((output, index) => [output, results[index]!]));
  }

  return {
    spec,
    run(name, inputs = {}) {
      const functionSpec = lookUp(spec.functions, 'function', name);
      checkInputs(name, functionSpec, inputs);
      return call(name, entries.get(name)!, inputs);
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
      return call(`read ${name}`, entry, { index }).values!;
    },
    dispose() {
      session?.close();
      session = undefined;
    },
  };
}

/** Products to be rounded to bfloat16 must not be inside a float32 op. */
function usableOps(nativeOps: ReadonlySet<string>, precision: Precision): ReadonlySet<string> {
  return precision === 'bf16' ? new Set([...nativeOps].filter((op) => !opsWithProducts.has(op))) : nativeOps;
}

/** Exported for tests: no machine without a GPU runs out of its memory. */
export function explained(functionName: string, error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (/\bOOM when allocating\b.*device:GPU/s.test(error.message)) {
    const shape = /with shape\[([\d,]*)\]/.exec(error.message)?.[1];
    const tensor = shape === undefined ? '' : ` No room was left for a tensor [${shape.replaceAll(',', ', ')}].`;
    return new UserError(
      {
        problem: `The GPU has too little memory for ${functionName}.${tensor}`,
        fix: 'Use a smaller --micro-batch, --precision bf16, --lora-rank or a smaller model; `--dry-run` says what is needed.',
      },
      { cause: error },
    );
  }
  const numerics = /tinyzero:(.*?): : Tensor had (.*?) values/.exec(error.message);
  if (numerics === null) return new Error(`${functionName}: ${error.message}`, { cause: error });
  return new NumericsError(functionName, numerics[1]!, numerics[2]!.includes('NaN') ? 'NaN' : 'Inf');
}
