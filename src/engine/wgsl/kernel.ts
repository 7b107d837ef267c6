/**
 * @file Writes one WGSL kernel. Values that need no memory of their own become functions of an index, so that a chain of
 * element-wise operations, views and gathers is one dispatch.
 *
 * All kernels of a program see the same buffers: inputs, constants, temporary results, flags, and arenas of state. A kernel's
 * operands are offsets into them, which come from a uniform: kernels of equal layers are one pipeline.
 */
import type { GraphDType } from '../dtype.js';
import type { Output } from '../graph/graph.js';
import type { HalfForm } from '../program.js';
import { type Shape, sizeOf } from '../shape.js';

/** Where a value is: a buffer, and the place in it, which the planner decides for temporary results. */
export interface Place {
  /** `inputs`, `constants`, `flags`, or one of several: `temps0`, `temps1`, ..., `state0`, `state1`, ... */
  buffer: string;
  /** In words of 4 bytes. */
  offset: number;
  /** In elements. */
  readonly size: number;
  /** The form of its elements if there are two in a word; otherwise each has a word. */
  readonly packed?: HalfForm;
  /** The place that this one is a part of. */
  readonly whole?: Place;
  /** The parts of a tensor larger than a buffer, all but the last of the same size. The tensor itself then has no buffer. */
  readonly pieces?: readonly Place[];
}

/** Threads of a workgroup of element-wise kernels. */
const groupThreads = 64;
/** Most workgroups along one axis: the specification's limit. */
const maxGroups = 65535;

/** A kernel with its operands, before its temporary results have places. */
export interface Dispatch {
  readonly code: string;
  readonly groups: readonly [number, number];
  readonly slots: readonly Place[];
  readonly writes: ReadonlySet<Place>;
  /** The buffers that it calls `data0`, `data1`, ... */
  readonly buffers: readonly string[];
  /** Operands that a table among the constants names. */
  readonly reads?: readonly Place[];
}

/** Dtypes of 2 bytes, whose values are float32 values that were rounded. */
export const isHalf = (dtype: GraphDType): boolean => dtype === 'bfloat16' || dtype === 'float16';

/** Whether kernels compute a dtype's values as f32. */
const isFloat = (dtype: GraphDType): boolean => dtype === 'float32' || isHalf(dtype);

export const scalarOf = (dtype: GraphDType): 'f32' | 'i32' => (isFloat(dtype) ? 'f32' : 'i32');

export const keyOf = ({ node, index }: Output): string => `${node.name}:${index}`;

/** A float32 literal. NaN and infinities may not be constants of a shader, so they are made at run time. */
export function literal(dtype: GraphDType, value: number): string {
  if (!isFloat(dtype)) return value === -(2 ** 31) ? 'i32(-2147483647 - 1)' : `i32(${value})`;
  if (Number.isFinite(value)) return Object.is(value, -0) ? '(-0f)' : `(${Math.fround(value)}f)`;
  const bits = Number.isNaN(value) ? 0x7fc00000 : value > 0 ? 0x7f800000 : 0xff800000;
  return `bitcast<f32>(runtime | ${bits}u)`;
}

/** The parts of a place, each in one buffer. */
export const piecesOf = (place: Place): readonly Place[] => place.pieces ?? [place];

export const wordsIn = ({ size, packed }: Place): number => (packed ? Math.ceil(size / 2) : size);

/** WGSL functions of the preamble that read an element of a pair, and make a pair of two values. */
const pairs = { bf16: { load: 'ofPair', store: 'asPair' }, f16: { load: 'ofHalves', store: 'asHalves' } } as const;

/** Buffers that every kernel binds under their own names. */
const commonBuffers: ReadonlySet<string> = new Set(['inputs', 'constants', 'flags']);

/** The writer's view of the plan. */
export interface Values {
  /** Buffers that all kernels bind, so that few bindings differ; the others are bound where they are used. */
  readonly buffers: readonly string[];
  /** Follows views to the output that holds the value. */
  source(output: Output): Output;
  /** The only value of a uniform constant. */
  uniform(output: Output): number | undefined;
  /** The place of a value in memory; undefined for one that is computed where it is used. */
  place(output: Output): Place | undefined;
  /** The body of a function of `i` that computes a value, ending in `return`. */
  body(writer: KernelWriter, output: Output): string;
  /** Whether a value is a product that a kernel of tiles computes. */
  isTiled(output: Output): boolean;
  /** A kernel of tiles that computes products and runs `main` for every element of them. */
  tiles(writer: KernelWriter, products: readonly Output[], main: string): Dispatch;
}

/** A product that must be in memory first: its user does not need it element by element, or needs others of another shape. */
export class NeedsMemory extends Error {
  override readonly name = 'NeedsMemory';

  constructor(readonly output: Output) {
    super(`${output.node.name} must be in memory`);
  }
}

export class KernelWriter {
  private readonly functions: string[] = [];
  private readonly names = new Map<string, string>();
  /** Operands, and those of them that are written. */
  readonly slots: Place[] = [];
  readonly writes = new Set<Place>();
  /** Buffers that it binds besides inputs, constants and flags. */
  readonly buffers: string[];
  private readonly products: Output[] = [];
  /** For every function that is being written, whether its index is that of the kernel's element. */
  private readonly elementwise: boolean[] = [true];
  private shared = '';

  constructor(private readonly values: Values) {
    this.buffers = [...values.buffers];
  }

  /** The uniform expression of a place's offset. */
  offset(place: Place): string {
    let slot = this.slots.indexOf(place);
    if (slot < 0) slot = this.slots.push(place) - 1;
    return `at.o[${slot >> 2}u][${slot & 3}u]`;
  }

  /** The array that holds a place without pieces. */
  array({ buffer }: Place): string {
    if (commonBuffers.has(buffer)) return buffer;
    const known = this.buffers.indexOf(buffer);
    return `data${known < 0 ? this.buffers.push(buffer) - 1 : known}`;
  }

  /** The element `index` of `place`, as float32 or int32. */
  load(place: Place, index: string, dtype: GraphDType = 'float32'): string {
    const at = place.packed ? `((${index}) >> 1u)` : index;
    const word =
      place.pieces === undefined
        ? `${this.array(place)}[${this.offset(place)} + ${at}]`
        : `${this.inPieces(place, 'load', 'i: u32) -> u32', (word) => `return ${word};`)}(${at})`;
    return place.packed ? `${pairs[place.packed].load}(${word}, ${index})` : `bitcast<${scalarOf(dtype)}>(${word})`;
  }

  /** Stores an element, or the word number `index` of a packed place. */
  store(place: Place, index: string, value: string): string {
    for (const piece of piecesOf(place)) this.writes.add(piece);
    if (place.pieces === undefined)
      return `${this.array(place)}[${this.offset(place)} + ${index}] = bitcast<u32>(${value});`;
    return `${this.inPieces(place, 'store', 'i: u32, x: u32)', (word) => `${word} = x; return;`)}(${index}, bitcast<u32>(${value}));`;
  }

  /** The word number `index` of a packed place, from two elements of a value. */
  pair(value: Output, index: string, { size, packed }: Place): string {
    const [first, second] = ['0u', '1u'].map((k) => this.element(value, `2u * ${index} + ${k}`));
    return `${pairs[packed!].store}(${first}, ${size % 2 === 0 ? second : `select(0f, ${second}, 2u * ${index} + 1u < ${size}u)`})`;
  }

  /** A function that finds the piece of a word. */
  private inPieces(place: Place, name: string, signature: string, use: (word: string) => string): string {
    const pieces = place.pieces!;
    const size = wordsIn(pieces[0]!);
    const key = `${name}${this.offset(pieces[0]!)}`;
    const known = this.names.get(key);
    if (known !== undefined) return known;
    const own = `${name}${this.names.size}`;
    this.names.set(key, own);
    const cases = pieces.map((piece, k) => {
      const body = use(`${this.array(piece)}[${this.offset(piece)} + i - ${k * size}u]`);
      return k === pieces.length - 1 ? body : `if (i < ${(k + 1) * size}u) { ${body} }`;
    });
    this.functions.push(`fn ${own}(${signature} { ${cases.join(' ')} }`);
    return own;
  }

  /** The element `index` (a WGSL expression of type u32) of a value. */
  element(output: Output, index: string): string {
    const value = this.values.source(output);
    const constant = this.values.uniform(value);
    if (constant !== undefined) return literal(value.dtype, constant);
    const isElementwise = index === 'i' && this.elementwise.at(-1)!;
    this.elementwise.push(isElementwise);
    const name = this.functionOf(value, isElementwise);
    this.elementwise.pop();
    return `${name}(${index})`;
  }

  private functionOf(value: Output, isElementwise: boolean): string {
    const place = this.values.place(value);
    const key = place === undefined ? `${keyOf(value)} ${isElementwise}` : keyOf(value);
    const known = this.names.get(key);
    if (known !== undefined) return known;
    const body =
      place === undefined ? this.bodyOf(value, isElementwise) : `return ${this.load(place, 'i', value.dtype)};`;
    const name = `value${this.names.size}`;
    this.names.set(key, name);
    this.functions.push(`fn ${name}(i: u32) -> ${scalarOf(value.dtype)} { ${body} }`);
    return name;
  }

  private bodyOf(value: Output, isElementwise: boolean): string {
    if (!this.values.isTiled(value)) return this.values.body(this, value);
    if (!isElementwise) throw new NeedsMemory(value);
    const number = this.products.push(value) - 1;
    return `return product${number};`;
  }

  get hasProducts(): boolean {
    return this.products.length > 0;
  }

  /** Declares memory that a workgroup shares. */
  share(declaration: string): void {
    if (!this.shared.includes(declaration)) this.shared += `var<workgroup> ${declaration};\n`;
  }

  /** A kernel of one thread per element of `count`; `main` is a function body with the element's number `i`. */
  each(count: number, main: string): Dispatch {
    const products = this.products.splice(0);
    if (products.length > 0) {
      this.functions.unshift(...products.map((_, index) => `var<private> product${index}: f32;`));
      return this.values.tiles(this, products, main);
    }
    const groups = Math.ceil(count / groupThreads);
    const columns = Math.min(groups, maxGroups);
    const start = `let i = id.y * ${columns * groupThreads}u + id.x;\n  if (i >= ${count}u) { return; }`;
    return this.finish([columns, Math.ceil(groups / columns)], groupThreads, `${start}\n  ${main}`);
  }

  /** A kernel of `threads` threads per row; `main` knows `row` and `lane`. */
  perRow(rows: number, threads: number, main: string): Dispatch {
    if (this.products.length > 0) throw new NeedsMemory(this.products[0]!);
    if (threads === 1) return this.each(rows, `let row = i;\n  let lane = 0u;\n  ${main}`);
    const columns = Math.min(rows, maxGroups);
    // A whole workgroup leaves at once, so that barriers stay uniform.
    const start = `let row = group.y * ${columns}u + group.x;\n  let lane = local.x;\n  if (row >= ${rows}u) { return; }`;
    return this.finish([columns, Math.ceil(rows / columns)], threads, `${start}\n  ${main}`);
  }

  /** A kernel of a workgroup per tile; `main` knows the number `tile`. */
  perTile(count: number, threads: number, main: string): Dispatch {
    const columns = Math.min(count, maxGroups);
    const start = `let tile = group.y * ${columns}u + group.x;\n  if (tile >= ${count}u) { return; }`;
    return this.finish([columns, Math.ceil(count / columns)], threads, `${start}\n  ${main}`);
  }

  /** Adds a function that may call those of values. */
  define(text: string): void {
    this.functions.push(text);
  }

  private finish(groups: readonly [number, number], threads: number, main: string): Dispatch {
    const ids =
      '@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u';
    const code = `${this.shared}${this.functions.join('\n')}
@compute @workgroup_size(${threads}) fn main(${ids}) {
  ${main}
}`;
    return { code, groups, slots: this.slots, writes: this.writes, buffers: this.buffers };
  }
}

/** Most operands of a kernel: a multiple of 4. */
export const maxSlots = 64;

/** The flat index into a tensor of shape `from` for the flat index `i` of a tensor of shape `to` that it broadcasts to. */
export function broadcastIndex(from: Shape, to: Shape, i = 'i'): string {
  if (sizeOf(from) === 1) return '0u';
  if (sizeOf(from) === sizeOf(to)) return i;
  const padded = [...to.slice(from.length).map(() => 1), ...from];
  const terms: string[] = [];
  let [toStride, fromStride] = [1, 1];
  for (let axis = to.length - 1; axis >= 0; ) {
    // Neighbouring axes that both broadcast, or both do not, are one.
    const isKept = padded[axis] === to[axis];
    let size = 1;
    while (axis >= 0 && (padded[axis] === to[axis]) === isKept) size *= to[axis--]!;
    if (isKept && size > 1) {
      const digit = toStride === 1 ? i : `(${i} / ${toStride}u)`;
      const wrapped = axis < 0 ? digit : `(${digit} % ${size}u)`;
      terms.push(fromStride === 1 ? wrapped : `${wrapped} * ${fromStride}u`);
    }
    toStride *= size;
    if (isKept) fromStride *= size;
  }
  return terms.length === 0 ? '0u' : terms.join(' + ');
}

/** The coordinate along `axis` of the flat index `i` of a tensor of shape `shape`. */
export function coordinate(shape: Shape, axis: number, i = 'i'): string {
  const stride = sizeOf(shape.slice(axis + 1));
  const digit = stride === 1 ? i : `(${i} / ${stride}u)`;
  return axis === 0 ? digit : `(${digit} % ${shape[axis]}u)`;
}

/** The flat index of coordinates, one expression per axis. */
export function flatIndex(shape: Shape, coordinates: readonly string[]): string {
  const terms = coordinates.flatMap((each, axis) => {
    if (shape[axis] === 1) return [];
    const stride = sizeOf(shape.slice(axis + 1));
    return [stride === 1 ? each : `(${each}) * ${stride}u`];
  });
  return terms.length === 0 ? '0u' : terms.join(' + ');
}
