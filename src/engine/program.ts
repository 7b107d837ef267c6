/**
 * @file A program: named functions over shared state, written once as tfjs code and either compiled into one
 * TensorFlow graph (session.ts) or run op by op (eager.ts). Both give the same values and the same errors.
 */
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Precision } from './choices.js';
import { type DType, dtypeOf, type TypedArray } from './dtype.js';
import { formatShape, type Shape, sizeOf } from './shape.js';

export interface TensorSpec<Type extends DType = DType> {
  readonly dtype: Type;
  readonly shape: Shape;
}

/** Forms of float32 state in 2 bytes: bfloat16 and float16. */
export type HalfForm = 'bf16' | 'f16';

/** A tensor that a program keeps between calls. */
export interface StateSpec<Type extends DType = DType> extends TensorSpec<Type> {
  /**
   * `bf16`: compiled programs store a float32 state as bfloat16, in half the memory: values are rounded when stored and
   * float32 when read. Functions with `precision: 'bf16'` multiply with it without rounding again. `f16`: the same with float16,
   * which is widened before each product, except on WebGPU. `int8`: the same with bytes and a scale per row, in about a
   * quarter of the memory. It needs native ops, which multiply with the bytes.
   */
  readonly stored?: HalfForm | 'int8';
  /** The only replica that holds this state. Absent: each holds its own. */
  readonly replica?: number;
}

export type TensorSpecs = Readonly<Record<string, TensorSpec>>;

export type StateSpecs = Readonly<Record<string, StateSpec>>;

/** State of float32 alone, as that of a model. */
export type FloatState = Readonly<Record<string, StateSpec<'float32'>>>;

export type TensorRecord = Readonly<Record<string, Tensor>>;

/** One tensor for each name in `Specs`. */
export type TensorsOf<Specs extends TensorSpecs> = { readonly [Name in keyof Specs]: Tensor };

/** Dtypes of a function's outputs, by name. */
type OutputTypes = Readonly<Record<string, DType>>;

export interface FunctionResult<Outputs extends OutputTypes = OutputTypes> {
  /** Values that `run` returns, by name. */
  readonly outputs?: { readonly [Name in keyof Outputs]: Tensor };
  /** New values of state tensors, by name: a run stores all of them, or none if it fails. */
  readonly assign?: TensorRecord;
}

/** Write it inside {@link defineFunction}, which types the body's inputs by name. */
export interface FunctionSpec<Inputs extends TensorSpecs = TensorSpecs, Outputs extends OutputTypes = OutputTypes> {
  readonly inputs: Inputs;
  /** Declares the outputs, so that `run` returns typed values. The body's outputs are checked against it. */
  readonly outputs?: Outputs;
  /**
   * Describes the computation. `state` holds the values from before the call. Reading a tensor's numbers, or using tensors made
   * elsewhere, is an error. The body runs once if it is compiled, and at every call if not, so it must not have side effects.
   */
  body(state: TensorRecord, inputs: TensorsOf<Inputs>): FunctionResult<Outputs>;
  /** Reject NaN and infinities in outputs and assigned state, naming the first; the state is then unchanged. */
  readonly checkNumerics?: boolean;
  /**
   * One computation of all replicas together. Its body finds each replica's state under the names of {@link stateOn}, and
   * assigns ops to replicas with `onReplica`. Without this, each replica can call the function on its own state.
   */
  readonly joint?: boolean;
  /** `bf16` rounds the operands of matrix products to bfloat16; sums and everything else stay float32. */
  readonly precision?: Precision;
}

/** Returns `spec`, with the body's inputs typed by `spec.inputs` and its outputs by `spec.outputs`. */
export function defineFunction<Inputs extends TensorSpecs, Outputs extends OutputTypes = OutputTypes>(
  spec: FunctionSpec<Inputs, Outputs>,
): FunctionSpec<Inputs, Outputs> {
  return spec;
}

export type FunctionSpecs = Readonly<Record<string, FunctionSpec>>;

export interface ProgramSpec<Functions extends FunctionSpecs = FunctionSpecs, State extends StateSpecs = StateSpecs> {
  readonly state: State;
  readonly functions: Functions;
}

interface ArrayOf {
  readonly float32: Float32Array;
  readonly int32: Int32Array;
  readonly bool: Uint8Array;
}

/** The inputs of a function, flat in row-major order. */
type InputsOf<Spec extends FunctionSpec> = {
  readonly [Name in keyof NonNullable<Spec>['inputs']]: ArrayOf[NonNullable<
    NonNullable<Spec>['inputs'][Name]
  >['dtype']];
};

/** The values that a function returns, flat in row-major order. */
type OutputsOf<Spec extends FunctionSpec> =
  Spec extends FunctionSpec<infer _, infer Types extends OutputTypes>
    ? { [Name in keyof Types]: ArrayOf[Exclude<Types[Name], undefined>] }
    : never;

/** The name under which a joint function finds state `name` of replica `replica`. */
export function stateOn(replica: number, name: string): string {
  return `${name}@${replica}`;
}

export interface Program<Functions extends FunctionSpecs = FunctionSpecs, State extends StateSpecs = StateSpecs> {
  readonly spec: ProgramSpec<Functions, State>;
  /** Processes that hold the state: this one, which is replica 0, and the workers of a cluster. */
  readonly replicas: number;
  /**
   * Runs one function, on every replica with the same inputs, and returns the outputs of replica 0. `inputs` has exactly the
   * function's inputs, flat in row-major order.
   *
   * @throws ProgramError for a wrong name, dtype or size, or for reading state that was never written; NumericsError
   *   if `checkNumerics` finds a value that is not finite.
   */
  run<Name extends keyof Functions & string>(
    name: Name,
    inputs?: InputsOf<Functions[Name]>,
  ): OutputsOf<Functions[Name]>;
  /** Runs one function on several replicas at the same time. Returns the outputs of each call. */
  runEach<Name extends keyof Functions & string>(
    name: Name,
    calls: readonly ReplicaCall<InputsOf<Functions[Name]>>[],
  ): OutputsOf<Functions[Name]>[];
  /** Runs one function on one replica, without waiting for it. */
  start<Name extends keyof Functions & string>(
    name: Name,
    call: ReplicaCall<InputsOf<Functions[Name]>>,
  ): Promise<OutputsOf<Functions[Name]>>;
  /** Stores `values` (row-major) in a state tensor of every replica. The array may be changed afterwards. */
  write(name: string, values: TypedArray): void;
  /** Sets every element of a state tensor. */
  fill(name: string, value: number): void;
  /** A copy of a state tensor's values. */
  read<Name extends keyof State & string>(name: Name): ArrayOf[State[Name]['dtype']];
  /** As `read`. Present where a program cannot block, as in a page; `run`, `runEach` and `read` throw there. */
  readLater?<Name extends keyof State & string>(name: Name): Promise<ArrayOf[State[Name]['dtype']]>;
  /** Frees the state; the program cannot be used afterwards. */
  dispose(): void;
}

/** Runs functions: a program, which returns values, or one that returns promises. */
export interface Runner<Functions extends FunctionSpecs = FunctionSpecs> {
  run<Name extends keyof Functions & string>(
    name: Name,
    inputs?: InputsOf<Functions[Name]>,
  ): OutputsOf<Functions[Name]> | Promise<OutputsOf<Functions[Name]>>;
}

/** Runs functions on several replicas, as {@link Runner}. */
export interface ReplicaRunner<Functions extends FunctionSpecs> extends Runner<Functions> {
  readonly replicas: number;
  runEach<Name extends keyof Functions & string>(
    name: Name,
    calls: readonly ReplicaCall<InputsOf<Functions[Name]>>[],
  ): OutputsOf<Functions[Name]>[] | Promise<OutputsOf<Functions[Name]>[]>;
}

/** Runs the functions of `program`, which has one replica, without waiting for them. */
export function deferred<Functions extends FunctionSpecs>({ start }: Program<Functions>): ReplicaRunner<Functions> {
  return {
    replicas: 1,
    run: (name, inputs) => start(name, { replica: 0, inputs }),
    runEach: (name, calls) => Promise.all(calls.map((call) => start(name, call))),
  };
}

/** The members of a program that concern replicas, for a program with a single one. */
export function alone(run: Program['run']): Pick<Program, 'replicas' | 'runEach' | 'start'> {
  return {
    replicas: 1,
    runEach: (name, calls) => calls.map(({ inputs }) => run(name, inputs)),
    start: async (name, { inputs }) => run(name, inputs),
  };
}

/** A call of a function on one replica. */
export interface ReplicaCall<Inputs = Readonly<Record<string, TypedArray>>> {
  readonly replica: number;
  readonly inputs?: Inputs | undefined;
}

/** A program was called incorrectly, or computed a value that is not finite. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
}

/** A function with `checkNumerics` computed NaN or an infinity; no state was changed. */
export class NumericsError extends ProgramError {
  constructor(
    readonly functionName: string,
    /** The first output or assigned state, in the order of the function's result, that was not finite. */
    readonly tensor: string,
    readonly found: 'NaN' | 'Inf',
  ) {
    super(`${functionName}: ${tensor} has ${found} values. The state is unchanged.`);
  }
}

export function lookUp<Value>(record: Readonly<Record<string, Value>>, kind: string, name: string): Value {
  const value = Object.hasOwn(record, name) ? record[name] : undefined;
  if (value === undefined) {
    throw new ProgramError(`no ${kind} is named ${name}; there are ${Object.keys(record).join(', ') || 'none'}`);
  }
  return value;
}

/** Checks that `values` fit a tensor. */
export function checkValues(what: string, spec: TensorSpec, values: unknown): asserts values is TypedArray {
  const dtype = dtypeOf(values);
  if (dtype !== spec.dtype) {
    const found = dtype ?? (Array.isArray(values) ? 'a plain array' : typeof values);
    throw new ProgramError(`${what}: expected ${spec.dtype} ${formatShape(spec.shape)}, found ${found}`);
  }
  const { length } = values as TypedArray;
  if (length !== sizeOf(spec.shape)) {
    throw new ProgramError(
      `${what}: expected ${sizeOf(spec.shape)} values for shape ${formatShape(spec.shape)}, found ${length}`,
    );
  }
}

/** Checks that `inputs` are exactly those of `spec`, naming the first that is missing or unknown. */
export function checkInputs(functionName: string, spec: FunctionSpec, inputs: Readonly<Record<string, unknown>>): void {
  for (const name of Object.keys(inputs)) lookUp(spec.inputs, `input of ${functionName}`, name);
  for (const [name, inputSpec] of Object.entries(spec.inputs)) {
    if (!Object.hasOwn(inputs, name)) {
      throw new ProgramError(
        `${functionName}: input ${name} (${inputSpec.dtype} ${formatShape(inputSpec.shape)}) is missing`,
      );
    }
    checkValues(`${functionName}: input ${name}`, inputSpec, inputs[name]);
  }
}

/** Checks the outputs of a body, if its function declares them. @throws ProgramError naming the first that differs. */
export function checkOutputs(
  functionName: string,
  { outputs: declared }: FunctionSpec,
  found: Readonly<Record<string, { readonly dtype: string }>>,
): void {
  if (declared === undefined) return;
  for (const name of new Set([...Object.keys(declared), ...Object.keys(found)])) {
    const [expected = 'no such output', dtype = 'none'] = [declared[name], found[name]?.dtype];
    if (expected !== dtype)
      throw new ProgramError(`${functionName}: output ${name}: expected ${expected}, found ${dtype}`);
  }
}

/** How an engine creates a program from its spec. */
export type CreateProgram = <Functions extends FunctionSpecs, State extends StateSpecs>(
  spec: ProgramSpec<Functions, State>,
) => Program<Functions, State>;

/** `program`, which was made from a spec of this type. It must check the outputs of bodies with {@link checkOutputs}. */
export function typed<Functions extends FunctionSpecs, State extends StateSpecs>(
  program: Program,
  _: ProgramSpec<Functions, State>,
): Program<Functions, State> {
  return program as Program<Functions, State>;
}

/**
 * `program`, with the types of some of its functions, which may be built again from the same sizes.
 *
 * @throws ProgramError for a function that it does not have, or has with other inputs or outputs.
 */
export function withFunctions<Functions extends FunctionSpecs>(
  program: Program,
  functions: Functions,
): Program<Functions> {
  for (const [name, { inputs, outputs }] of Object.entries(functions)) {
    const own = lookUp(program.spec.functions, 'function', name);
    if (JSON.stringify([own.inputs, own.outputs]) !== JSON.stringify([inputs, outputs])) {
      throw new ProgramError(`${name} has other inputs or outputs in this program`);
    }
  }
  return program as unknown as Program<Functions>;
}

/** Checks the value that a body assigns to a state tensor. */
export function checkAssigned(
  functionName: string,
  name: string,
  spec: TensorSpec,
  value: { dtype: string; shape: Shape },
): void {
  if (value.dtype !== spec.dtype || formatShape(value.shape) !== formatShape(spec.shape)) {
    const expected = `${spec.dtype} ${formatShape(spec.shape)}`;
    throw new ProgramError(
      `${functionName}: state ${name} is ${expected}, but ${value.dtype} ${formatShape(value.shape)} was assigned to it`,
    );
  }
}
