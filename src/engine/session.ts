/**
 * @file Compiled programs: every function is traced once, all graphs share one session, a run is one native call. State
 * is held in TensorFlow resource variables, which all functions of a session share and which stay on the device.
 */
import { UserError } from '../util/errors.js';
import type { Precision } from './choices.js';
import { type Cluster, lostWorker } from './cluster.js';
import type { TypedArray } from './dtype.js';
import { compileFunction, type Entry } from './graph/compile.js';
import { Graph, type GraphNode, plainName } from './graph/graph.js';
import { type Call, type GraphSession, openGraphs } from './graph/graph-session.js';
import { replicaPrefix } from './graph/graphdef.js';
import { type HeldState, stateMemory } from './graph/state-memory.js';
import { addGatheredAccess, addHandles, addStateAccess, type StateAccess } from './graph/variables.js';
import { filled } from './lowering/emit.js';
import { opsWithProducts } from './lowering/native-ops.js';
import type { KernelsAddon, NativeBinding } from './native.js';
import type { FunctionSpecs, Program, ProgramSpec, ReplicaCall, StateSpec, StateSpecs } from './program.js';
import { checkInputs, checkValues, lookUp, NumericsError, ProgramError, stateOn, typed } from './program.js';

/** What graphs may use of the device on which they run. */
export interface GraphDevice {
  readonly kind: 'cpu' | 'gpu';
  readonly nativeOps: ReadonlySet<string>;
  /** Precision of a function -> number of multiplications from which a product of two matrices uses our own kernel. */
  readonly ownProductFrom: Partial<Readonly<Record<Precision, number>>>;
  /** Whether TensorFlow multiplies bfloat16. If not, operands are widened before its products. */
  readonly multipliesBfloat16: boolean;
}

/** A GPU with TensorFlow's kernels only. Our own run on the processor, so each would copy its tensors there and back. */
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
  /** The states whose variables keep the fed arrays as their memory. */
  readonly memory: ReadonlyMap<string, HeldState>;
}

/**
 * Traces `spec` for a device, which this machine need not have.
 *
 * @param replicas number of processes that run the program together. Default 1.
 * @param holds whether variables may keep the fed arrays as their memory, which is reserved here. Default: no.
 * @throws TraceError for code that cannot be compiled, ProgramError for a body whose result does not match the state.
 */
export function traceProgram(
  spec: ProgramSpec,
  { kind, nativeOps, ownProductFrom, multipliesBfloat16 }: GraphDevice,
  { replicas = 1, holds = false }: { readonly replicas?: number; readonly holds?: boolean } = {},
): TracedProgram {
  const stateGraph = new Graph('state');
  const handles = addHandles(stateGraph, spec.state);
  const entries = new Map<string, Entry>();
  const graphs = [stateGraph];
  for (const [index, [name, functionSpec]] of Object.entries(spec.functions).entries()) {
    const { precision = 'f32', joint = false } = functionSpec;
    const products = { precision, ownFrom: ownProductFrom[precision] ?? Number.POSITIVE_INFINITY, multipliesBfloat16 };
    const graph = new Graph(`fn_${index}_${plainName(name)}`, usableOps(nativeOps, precision), products, kind, joint);
    if (joint) {
      const all = ofAllReplicas(spec.state, handles, replicas);
      const entry = compileFunction(graph, name, functionSpec, all.state, all.handles);
      const named = (states: readonly string[]) => [...new Set(states.map((state) => all.names.get(state)!))];
      entries.set(name, { ...entry, reads: named(entry.reads), writes: named(entry.writes) });
    } else entries.set(name, compileFunction(graph, name, functionSpec, spec.state, handles));
    graphs.push(graph);
  }
  const assigned = new Set([...entries.values()].flatMap(({ writes }) => writes));
  const memory = holds ? stateMemory(spec.state, assigned) : new Map<string, HeldState>();
  const inOnePlace = kind === 'cpu' && replicas === 1;
  const access = inOnePlace
    ? addGatheredAccess(stateGraph, spec.state, handles, memory)
    : addStateAccess(stateGraph, spec.state, handles);
  return { graphs, entries, access, memory };
}

/**
 * Traces and loads `spec`.
 *
 * @param addon absent if the engine has no native ops.
 * @param cluster the processes that run the program together; absent: this one alone.
 * @throws as {@link traceProgram} does.
 */
export function createSessionProgram<Functions extends FunctionSpecs, State extends StateSpecs>(
  binding: NativeBinding,
  addon: KernelsAddon | undefined,
  spec: ProgramSpec<Functions, State>,
  device: GraphDevice,
  cluster?: Cluster,
): Program<Functions, State> {
  const replicas = cluster?.addresses.length ?? 1;
  const everywhere = indices(replicas);
  const holds = addon !== undefined && cluster === undefined && device.kind === 'cpu';
  const { graphs, entries, access, memory } = traceProgram(spec, device, { replicas, holds });
  let session: GraphSession | undefined = openGraphs(binding, addon, graphs, cluster);
  const written = new Set<string>();

  /** The session. @throws ProgramError if it is closed, or if `entry` reads state that was never written. */
  function opened(name: string, entry: Entry): GraphSession {
    if (session === undefined) throw new ProgramError(`${name}: the program has been disposed`);
    for (const state of entry.reads) {
      if (!written.has(state)) throw new ProgramError(`${name} reads state ${state}, which was never written`);
    }
    return session;
  }

  /** The outputs of a call, by name. */
  function outputsOf(entry: Entry, results: readonly TypedArray[]): Record<string, TypedArray> {
    for (const state of entry.writes) written.add(state);
    return Object.fromEntries(entry.fetches.map((output, index) => [output, results[index]!]));
  }

  function call(
    name: string,
    entry: Entry,
    inputs: Readonly<Record<string, TypedArray>>,
    on: readonly number[],
  ): Record<string, TypedArray> {
    const values = valuesOf(entry, inputs);
    return callEach(
      name,
      entry,
      on.map((replica) => ({ replica, values })),
    )[0]!;
  }

  function callEach(name: string, entry: Entry, calls: readonly Call[]): Record<string, TypedArray>[] {
    const target = opened(name, entry);
    try {
      return target.run(entry, calls).map((results) => outputsOf(entry, results));
    } catch (error) {
      throw explained(name, error, cluster);
    }
  }

  /** The checked call of a function on one replica. */
  function checked(name: string, { replica, inputs = {} }: ReplicaCall): Call {
    checkInputs(name, lookUp(spec.functions, 'function', name), inputs);
    return { replica, values: valuesOf(entries.get(name)!, inputs) };
  }

  const homes = ({ replica }: StateSpec) => (replica === undefined ? everywhere : [replica]);

  const program: Program = {
    spec,
    replicas,
    run(name, inputs = {}) {
      const functionSpec = lookUp(spec.functions, 'function', name);
      checkInputs(name, functionSpec, inputs);
      return call(name, entries.get(name)!, inputs, functionSpec.joint === true ? [0] : everywhere);
    },
    runEach(name, calls) {
      const each = calls.map((one) => checked(name, one));
      return callEach(name, entries.get(name)!, each);
    },
    async start(name, one) {
      const checkedCall = checked(name, one);
      const entry = entries.get(name)!;
      try {
        return outputsOf(entry, await opened(name, entry).start(entry, checkedCall));
      } catch (error) {
        throw explained(name, error, cluster);
      }
    },
    write(name, values) {
      const stateSpec = lookUp(spec.state, 'state', name);
      checkValues(`state ${name}`, stateSpec, values);
      const held = memory.get(name);
      const { entry, inputs } = access.write(name, held?.type ?? stateSpec);
      const kept = held?.written(values as Float32Array) ?? values;
      call(`write ${name}`, entry, { ...inputs, values: kept }, homes(stateSpec));
    },
    fill(name, value) {
      const stateSpec = lookUp(spec.state, 'state', name);
      const held = memory.get(name);
      const one = { dtype: stateSpec.dtype, shape: stateSpec.shape.map(() => 1) };
      const { entry, inputs } = access.write(name, held?.type ?? one);
      const values = held?.filled(value) ?? filled(stateSpec.dtype, value);
      call(`fill ${name}`, entry, { ...inputs, values }, homes(stateSpec));
    },
    read(name) {
      const { replica = 0 } = lookUp(spec.state, 'state', name);
      const { entry, inputs } = access.read(name);
      return call(`read ${name}`, entry, inputs, [replica]).values!;
    },
    dispose() {
      session?.close();
      session = undefined;
    },
  };
  return typed(program, spec);
}

function valuesOf({ feeds }: Entry, inputs: Readonly<Record<string, TypedArray>>): TypedArray[] {
  return feeds.map(({ name }) => inputs[name]!);
}

function indices(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** The state of every replica, as a joint function sees it. */
function ofAllReplicas(
  state: ProgramSpec['state'],
  handles: ReadonlyMap<string, GraphNode>,
  replicas: number,
): {
  readonly state: ProgramSpec['state'];
  readonly handles: ReadonlyMap<string, GraphNode>;
  /** The names without their replicas. */
  readonly names: ReadonlyMap<string, string>;
} {
  const all = indices(replicas).flatMap((replica) => Object.keys(state).map((name) => ({ replica, name })));
  return {
    state: Object.fromEntries(all.map(({ replica, name }) => [stateOn(replica, name), state[name]!])),
    handles: new Map(
      all.map(({ replica, name }) => {
        const handle = handles.get(name)!;
        return [stateOn(replica, name), { ...handle, name: `${replicaPrefix(replica)}${handle.name}`, replica }];
      }),
    ),
    names: new Map(all.map(({ replica, name }) => [stateOn(replica, name), name])),
  };
}

/** With `bf16`, excludes the ops that compute their matrix products in float32. */
function usableOps(nativeOps: ReadonlySet<string>, precision: Precision): ReadonlySet<string> {
  return precision === 'bf16' ? new Set([...nativeOps].filter((op) => !opsWithProducts.has(op))) : nativeOps;
}

/** The error to throw for a failed call. Exported for tests, which cannot exhaust a GPU's memory without a GPU. */
export function explained(functionName: string, error: unknown, cluster?: Cluster): unknown {
  if (!(error instanceof Error)) return error;
  if (/\bOOM when allocating\b.*device:GPU/s.test(error.message)) {
    const shape = /with shape\[([\d,]*)\]/.exec(error.message)?.[1];
    const tensor = shape === undefined ? '' : ` There was no room for a tensor [${shape.replaceAll(',', ', ')}].`;
    return new UserError(
      {
        problem: `The GPU has too little memory for ${functionName}.${tensor}`,
        fix: 'Use a smaller --micro-batch, --precision bf16, --lora-rank or a smaller model; `--dry-run` shows what is needed.',
      },
      { cause: error },
    );
  }
  const numerics = /tinyzero:(.*?): : Tensor had (.*?) values/.exec(error.message);
  if (numerics !== null)
    return new NumericsError(functionName, numerics[1]!, numerics[2]!.includes('NaN') ? 'NaN' : 'Inf');
  const lost = cluster && lostWorker(error, cluster);
  return lost ?? new Error(`${functionName}: ${error.message}`, { cause: error });
}
