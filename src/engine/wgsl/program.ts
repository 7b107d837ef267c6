/**
 * @file Programs compiled to WGSL: every function is traced once and planned into kernels; a run is one command buffer, or two if
 * results are checked before they are stored. State stays on the card; only inputs, outputs and flags are copied.
 */
import type { TypedArray } from '../dtype.js';
import { compileFunction, type Entry } from '../graph/compile.js';
import { Graph, plainName } from '../graph/graph.js';
import { addHandles } from '../graph/variables.js';
import { nativeOps } from '../lowering/native-ops.js';
import type { Program, ProgramSpec, TensorSpec } from '../program.js';
import { alone, checkInputs, checkValues, lookUp, NumericsError, ProgramError } from '../program.js';
import { sizeOf } from '../shape.js';
import { bufferTooLarge, type WebGpuDevice } from '../webgpu/device.js';
import type { Place } from './kernel.js';
import { type Pipelines, type Recorded, record, replay } from './pipelines.js';
import { type FunctionPlan, planFunction } from './plan.js';
import type { Tuning } from './tuning.js';

/** Native ops that have a kernel or an expression here. */
const ownOps: ReadonlySet<string> = new Set([
  ...[nativeOps.rmsNorm, nativeOps.rmsNormGradient, nativeOps.swiglu, nativeOps.swigluGradient, nativeOps.rope],
  ...[nativeOps.logProb, nativeOps.logProbGradient, nativeOps.attention, nativeOps.attentionGradient],
  ...[nativeOps.adamW, nativeOps.sumOfSquares, nativeOps.cachedAttention, nativeOps.draw],
]);

/** Arenas of state, at most; with inputs, constants, results and flags 8 buffers, as many as every card allows. */
const mostArenas = 4;

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

/**
 * @throws Unsupported for an op without a kernel, TraceError and ProgramError as every compiled program.
 */
export function createWgslProgram(
  gpu: WebGpuDevice,
  pipelines: Pipelines,
  given: ProgramSpec,
  tuning: Tuning,
): Program {
  const { device, facts } = gpu;
  const spec = plainSpec(given);
  const { places, arenaElements } = placeState(spec, facts);
  const stateGraph = new Graph('state');
  const handles = addHandles(stateGraph, spec.state);
  const statePlaces = new Map([...handles].map(([name, node]) => [node, places.get(name)!]));
  const functions = new Map<string, Compiled>();
  let constantElements = 0;
  for (const [index, [name, functionSpec]] of Object.entries(spec.functions).entries()) {
    const graph = new Graph(`fn_${index}_${plainName(name)}`, ownOps);
    const entry = compileFunction(graph, name, functionSpec, spec.state, handles);
    const plan = planFunction(graph, entry, statePlaces, tuning);
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
  const temps = make(most((plan) => plan.tempElements));
  const flags = make(most((plan) => 2 * plan.checked.length));
  const arenas = arenaElements.map(make);
  const bindings = pipelines.bind([inputs, constants, temps, flags, ...arenas]);
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
        record(pipelines, arenas.length, part, constantsFrom),
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
    replay(encoder, bindings, part);
    more(encoder);
    device.queue.submit([encoder.finish()]);
  }

  const stateBuffer = ({ buffer }: Place) => arenas[Number(buffer.slice('state'.length))]!;

  /** Begins a call: all that the card computes before results are looked at. */
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
        for (const { place } of plan.outputs) {
          if (place.size > 0) encoder.copyBufferToBuffer(temps, place.offset * 4, staging!, at, place.size * 4);
          at += place.size * 4;
        }
        if (plan.checked.length > 0) encoder.copyBufferToBuffer(flags, 0, staging!, at, 8 * plan.checked.length);
      },
      plan.checked.length > 0,
    );
    return { name, entry, plan, ready, staging };
  }

  /** Ends a call: looks at its results, and stores what depends on them. @param bytes of its staging buffer. */
  function end(
    { name, entry, plan, ready }: ReturnType<typeof begin>,
    bytes: ArrayBuffer | undefined,
  ): Record<string, TypedArray> {
    const results: Record<string, TypedArray> = {};
    if (bytes !== undefined) {
      let at = 0;
      for (const { name: output, value, place } of plan.outputs) {
        results[output] = typed(value.dtype as TensorSpec['dtype'], bytes.slice(at, at + place.size * 4));
        at += place.size * 4;
      }
      rejectBad(name, plan.checked, new Uint32Array(bytes, at));
    }
    if (plan.second.length > 0) submit(ready.second);
    gpu.check();
    for (const state of entry.writes) written.add(state);
    return results;
  }

  /** Where a state can be read. */
  function readable(name: string) {
    const { dtype } = lookUp(spec.state, 'state', name);
    use(`read ${name}`);
    if (!written.has(name)) throw new ProgramError(`read ${name} reads state ${name}, which was never written`);
    const place = places.get(name)!;
    return { dtype, buffer: stateBuffer(place), bytes: place.size * 4, offset: place.offset * 4 };
  }

  const program: Program = {
    spec: given,
    ...alone((name, values) => program.run(name, values)),
    run(name, values = {}) {
      const call = begin(name, values);
      return end(call, call.staging && gpu.take(call.staging));
    },
    async start(name, { inputs: values }) {
      const call = begin(name, values);
      return end(call, call.staging && (await gpu.takeLater(call.staging)));
    },
    write(name, values) {
      checkValues(`state ${name}`, lookUp(spec.state, 'state', name), values);
      use(`write ${name}`);
      const place = places.get(name)!;
      device.queue.writeBuffer(stateBuffer(place), place.offset * 4, words(values));
      written.add(name);
      gpu.check();
    },
    fill(name, value) {
      const { dtype, shape } = lookUp(spec.state, 'state', name);
      use(`fill ${name}`);
      const place = places.get(name)!;
      const filled = dtype === 'float32' ? new Float32Array(place.size) : new Int32Array(sizeOf(shape));
      device.queue.writeBuffer(stateBuffer(place), place.offset * 4, filled.fill(value));
      written.add(name);
      gpu.check();
    },
    read(name) {
      const { dtype, buffer, bytes, offset } = readable(name);
      return typed(dtype, bytes === 0 ? new ArrayBuffer(0) : gpu.read(buffer, bytes, offset));
    },
    ...(!gpu.waits && {
      async readLater(name: string) {
        const { dtype, buffer, bytes, offset } = readable(name);
        return typed(dtype, bytes === 0 ? new ArrayBuffer(0) : await gpu.readLater(buffer, bytes, offset));
      },
    }),
    dispose() {
      if (disposed) return;
      disposed = true;
      const own = [inputs, constants, temps, flags, ...arenas];
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

/** `spec` in float32 throughout, as op-by-op programs have it. */
function plainSpec({ state, functions }: ProgramSpec): ProgramSpec {
  return {
    state: Object.fromEntries(Object.entries(state).map(([name, { dtype, shape }]) => [name, { dtype, shape }])),
    functions: Object.fromEntries(
      Object.entries(functions).map(([name, spec]) => [name, { ...spec, precision: 'f32' }]),
    ),
  };
}

/** Places of all states in few buffers, none larger than a shader can use. */
function placeState(spec: ProgramSpec, facts: WebGpuDevice['facts']) {
  const limit = Math.floor(facts.maxBindingBytes / 4);
  const arenaElements: number[] = [];
  const places = new Map<string, Place>();
  for (const [name, { shape }] of Object.entries(spec.state)) {
    const size = sizeOf(shape);
    const rounded = Math.ceil(Math.max(size, 1) / 4) * 4;
    if (rounded > limit) throw bufferTooLarge(facts);
    let arena = arenaElements.length - 1;
    if (arena < 0 || arenaElements[arena]! + rounded > limit) arena = arenaElements.push(0) - 1;
    places.set(name, { buffer: `state${arena}`, offset: arenaElements[arena]!, size });
    arenaElements[arena]! += rounded;
  }
  if (arenaElements.length > mostArenas) throw bufferTooLarge(facts);
  return { places, arenaElements };
}

/** Values as the card stores them: bool in 4 bytes. */
function words(values: TypedArray): Uint32Array<ArrayBuffer> {
  if (values instanceof Uint8Array) return Uint32Array.from(values);
  return new Uint32Array(values.buffer as ArrayBuffer, values.byteOffset, values.length);
}

function typed(dtype: TensorSpec['dtype'], bytes: ArrayBuffer): TypedArray {
  if (dtype === 'float32') return new Float32Array(bytes);
  return dtype === 'int32' ? new Int32Array(bytes) : Uint8Array.from(new Int32Array(bytes));
}

function rejectBad(functionName: string, checked: readonly string[], flags: Uint32Array): void {
  for (const [index, tensor] of checked.entries()) {
    if (flags[2 * index] === 1) throw new NumericsError(functionName, tensor, 'NaN');
    if (flags[2 * index + 1] === 1) throw new NumericsError(functionName, tensor, 'Inf');
  }
}
