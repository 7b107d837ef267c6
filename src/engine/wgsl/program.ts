/**
 * @file Programs compiled to WGSL: every function is traced once and planned into kernels; a run is one command buffer, or two if
 * results are checked before they are stored. State stays on the card (states.ts); only inputs, outputs and flags are copied.
 */
import type { TypedArray } from '../dtype.js';
import { compileFunction, type Entry } from '../graph/compile.js';
import { Graph, plainName } from '../graph/graph.js';
import { addHandles } from '../graph/variables.js';
import { nativeOps } from '../lowering/native-ops.js';
import type { CreateProgram, Program, ProgramSpec, TensorSpec } from '../program.js';
import { alone, checkInputs, checkValues, lookUp, NumericsError, ProgramError, typed } from '../program.js';
import { bufferTooLarge, type WebGpuDevice } from '../webgpu/device.js';
import { Unsupported } from './expressions.js';
import { piecesOf } from './kernel.js';
import { openPipelines, type Pipelines, type Recorded, record, replay } from './pipelines.js';
import { type FunctionPlan, planFunction } from './plan.js';
import { placeStates, stateCopies, typedValues, words } from './states.js';
import { type Tuning, tuningOf } from './tuning.js';

/** Native ops that have a kernel or an expression here. */
const ownOps: ReadonlySet<string> = new Set([
  ...[nativeOps.rmsNorm, nativeOps.rmsNormGradient, nativeOps.swiglu, nativeOps.swigluGradient, nativeOps.rope],
  ...[nativeOps.logProb, nativeOps.logProbGradient, nativeOps.attention, nativeOps.attentionGradient],
  ...[nativeOps.adamW, nativeOps.sumOfSquares, nativeOps.cachedAttention, nativeOps.draw],
]);

/** Dispatches of each function of a program, for tests and measurements. */
const counts = new WeakMap<Program, Readonly<Record<string, number>>>();
export const dispatchesOf = (program: Program): Readonly<Record<string, number>> | undefined => counts.get(program);

interface Compiled {
  readonly entry: Entry;
  readonly plan: FunctionPlan;
  /** First of this function's elements among the constants. */
  readonly constantsFrom: number;
  ready?: { readonly first: Recorded; readonly second: Recorded; readonly staging?: GPUBuffer; readonly bytes: number };
}

/** @returns a function that compiles programs on this device, in Node or in a page. It throws Unsupported for an op without a kernel. */
export function openCompiler(gpu: WebGpuDevice, tuning: Tuning = tuningOf(gpu.facts)): CreateProgram {
  const pipelines = openPipelines(gpu.device);
  return (spec) => typed(createWgslProgram(gpu, pipelines, spec, tuning), spec);
}

/**
 * @throws Unsupported, which names the function, for an op without a kernel; TraceError and ProgramError as for every compiled program.
 */
function createWgslProgram(gpu: WebGpuDevice, pipelines: Pipelines, spec: ProgramSpec, tuning: Tuning): Program {
  const { device, facts } = gpu;
  const mostElements = Math.floor(facts.maxBindingBytes / 16) * 4;
  const { places, elements: arenaElements } = placeStates(spec.state, mostElements);
  const arenas = arenaElements.map((_, index) => `state${index}`);
  const stateGraph = new Graph('state');
  const handles = addHandles(stateGraph, spec.state);
  const statePlaces = new Map([...handles].map(([name, node]) => [node, places.get(name)!]));
  // Inputs, constants and flags are three more.
  const context = { states: statePlaces, arenas, tuning, mostElements, mostBuffers: facts.maxBuffers - 3 };
  const functions = new Map<string, Compiled>();
  let constantElements = 0;
  for (const [index, [name, functionSpec]] of Object.entries(spec.functions).entries()) {
    const graph = new Graph(`fn_${index}_${plainName(name)}`, ownOps, undefined, 'gpu');
    const entry = compileFunction(graph, name, functionSpec, spec.state, handles);
    const plan = naming(name, () => planFunction(graph, entry, context));
    functions.set(name, { entry, plan, constantsFrom: constantElements });
    constantElements += plan.constants.length;
  }
  const plans = [...functions.values()].map(({ plan }) => plan);
  const most = (elements: (plan: FunctionPlan) => number) => Math.max(4, ...plans.map(elements));

  const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
  const make = (elements: number): GPUBuffer => {
    if (elements * 4 > facts.maxBindingBytes) throw bufferTooLarge(facts);
    return device.createBuffer({ size: elements * 4, usage: storage });
  };
  const inputs = make(most((plan) => plan.inputElements));
  const constants = make(Math.max(4, constantElements));
  const flags = make(most((plan) => 2 * plan.checked.length));
  /** The buffers, by the names that kernels use. */
  const named = new Map(arenas.map((name, index) => [name, make(arenaElements[index]!)]));
  const tempCount = Math.max(1, ...plans.map(({ tempElements }) => tempElements.length));
  for (let index = 0; index < tempCount; index += 1) {
    named.set(`temps${index}`, make(most(({ tempElements }) => tempElements[index] ?? 0)));
  }
  const bound = new Map<string, GPUBindGroup>();
  const bindingsOf = (buffers: readonly string[]): GPUBindGroup => {
    const key = buffers.join();
    const known = bound.get(key);
    if (known !== undefined) return known;
    const made = pipelines.bind([inputs, constants, flags, ...buffers.map((name) => named.get(name)!)]);
    bound.set(key, made);
    return made;
  };
  for (const { plan, constantsFrom } of functions.values()) {
    device.queue.writeBuffer(constants, constantsFrom * 4, plan.constants);
  }
  gpu.check();
  const written = new Set<string>();
  let disposed = false;

  function use(what: string): void {
    if (disposed) throw new ProgramError(`${what}: the program has been disposed`);
    gpu.check();
  }

  function prepared(name: string) {
    const compiled = functions.get(name)!;
    if (compiled.ready === undefined) {
      const { plan, constantsFrom } = compiled;
      const [first, second] = [plan.first, plan.second].map((part) =>
        record(pipelines, bindingsOf, part, constantsFrom),
      );
      const bytes = 4 * (plan.outputs.reduce((sum, { place }) => sum + place.size, 0) + 2 * plan.checked.length);
      const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
      compiled.ready = {
        first: first!,
        second: second!,
        bytes,
        ...(bytes > 0 && { staging: device.createBuffer({ size: bytes, usage }) }),
      };
    }
    return { ...compiled, ready: compiled.ready };
  }

  function submit(part: Recorded, more: (encoder: GPUCommandEncoder) => void = () => {}, clears = false): void {
    const encoder = device.createCommandEncoder();
    if (clears) encoder.clearBuffer(flags);
    replay(encoder, part);
    more(encoder);
    device.queue.submit([encoder.finish()]);
  }

  /** Begins a call: submits all that the card computes before results are checked. */
  function begin(name: string, values: Readonly<Record<string, TypedArray>>) {
    checkInputs(name, lookUp(spec.functions, 'function', name), values);
    use(name);
    const { entry, plan, ready } = prepared(name);
    for (const state of entry.reads) {
      if (!written.has(state)) throw new ProgramError(`${name} reads state ${state}, which was never written`);
    }
    if (entry.feeds.length > 0) {
      const packed = new Uint32Array(plan.inputElements);
      entry.feeds.forEach((feed, index) => {
        packed.set(words(values[feed.name]!), plan.inputs[index]!.offset);
      });
      device.queue.writeBuffer(inputs, 0, packed);
    }
    const { staging } = ready;
    submit(
      ready.first,
      (encoder) => {
        let at = 0;
        for (const { buffer, offset, size } of plan.outputs.flatMap(({ place }) => piecesOf(place))) {
          if (size > 0) encoder.copyBufferToBuffer(named.get(buffer)!, offset * 4, staging!, at, size * 4);
          at += size * 4;
        }
        if (plan.checked.length > 0) encoder.copyBufferToBuffer(flags, 0, staging!, at, 8 * plan.checked.length);
      },
      plan.checked.length > 0,
    );
    return { name, entry, plan, ready, staging };
  }

  /** Ends a call: checks its results, then submits the stores. @param bytes content of its staging buffer. */
  function end(
    { name, entry, plan, ready }: ReturnType<typeof begin>,
    bytes: ArrayBuffer | undefined,
  ): Record<string, TypedArray> {
    const results: Record<string, TypedArray> = {};
    if (bytes !== undefined) {
      let at = 0;
      for (const { name: output, value, place } of plan.outputs) {
        results[output] = typedValues(value.dtype as TensorSpec['dtype'], bytes.slice(at, at + place.size * 4));
        at += place.size * 4;
      }
      rejectBad(name, plan.checked, new Uint32Array(bytes, at));
    }
    if (plan.second.length > 0) submit(ready.second);
    gpu.check();
    for (const state of entry.writes) written.add(state);
    return results;
  }

  const copies = stateCopies(gpu, named);
  /** A state that can be read. */
  function readable(name: string) {
    const { dtype } = lookUp(spec.state, 'state', name);
    use(`read ${name}`);
    if (!written.has(name)) throw new ProgramError(`read ${name} reads state ${name}, which was never written`);
    return { dtype, place: places.get(name)! };
  }

  const program: Program = {
    spec,
    ...alone((name, values) => program.run(name, values)),
    run(name, values = {}) {
      const call = begin(name, values);
      return end(call, call.staging && gpu.take(call.staging));
    },
    async start(name, { inputs: values = {} }) {
      const call = begin(name, values);
      return end(call, call.staging && (await gpu.takeLater(call.staging)));
    },
    write(name, values) {
      checkValues(`state ${name}`, lookUp(spec.state, 'state', name), values);
      use(`write ${name}`);
      copies.write(places.get(name)!, values);
      written.add(name);
      gpu.check();
    },
    fill(name, value) {
      const { dtype } = lookUp(spec.state, 'state', name);
      use(`fill ${name}`);
      copies.fill(places.get(name)!, dtype === 'float32' ? Float32Array.of(value) : Int32Array.of(value));
      written.add(name);
      gpu.check();
    },
    read(name) {
      const { dtype, place } = readable(name);
      return copies.read(place, dtype);
    },
    ...(!gpu.waits && {
      async readLater(name: string) {
        const { dtype, place } = readable(name);
        return await copies.readLater(place, dtype);
      },
    }),
    dispose() {
      if (disposed) return;
      disposed = true;
      const own = [inputs, constants, flags, ...named.values()];
      for (const { ready } of functions.values()) {
        if (ready !== undefined) own.push(ready.first.operands, ready.second.operands);
        if (ready?.staging !== undefined) own.push(ready.staging);
      }
      for (const buffer of own) buffer.destroy();
    },
  };
  counts.set(
    program,
    Object.fromEntries([...functions].map(([name, { plan }]) => [name, plan.first.length + plan.second.length])),
  );
  return program;
}

/** Adds the function's name to what its plan cannot express. */
function naming<Result>(functionName: string, plan: () => Result): Result {
  try {
    return plan();
  } catch (error) {
    throw error instanceof Unsupported ? new Unsupported(error.what, functionName) : error;
  }
}

function rejectBad(functionName: string, checked: readonly string[], flags: Uint32Array): void {
  for (const [index, tensor] of checked.entries()) {
    if (flags[2 * index] === 1) throw new NumericsError(functionName, tensor, 'NaN');
    if (flags[2 * index + 1] === 1) throw new NumericsError(functionName, tensor, 'Inf');
  }
}
