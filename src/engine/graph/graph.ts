/**
 * @file The intermediate representation: a list of nodes in order of creation, each with TensorFlow's op name, attributes and
 * static output shapes. Independent of tfjs (trace.ts) and protobuf (graphdef.ts).
 */
import type { Precision } from '../choices.js';
import type { GraphDType } from '../dtype.js';
import type { Shape } from '../shape.js';

/** An attribute of a node (`AttrValue` of attr_value.proto); exactly one key is present. */
export type Attribute =
  | { readonly type: GraphDType }
  | { readonly int: number }
  | { readonly float: number }
  | { readonly bool: boolean }
  | { readonly string: string }
  | { readonly shape: Shape }
  | { readonly unknownShape: true }
  | { readonly ints: readonly number[] }
  | { readonly tensor: ConstantValue };

/** A stored value. `data` has one element when every element is the same: TensorProto repeats the last one. */
export interface ConstantValue {
  readonly dtype: GraphDType;
  readonly shape: Shape;
  readonly data: Float32Array | Int32Array | Uint8Array;
}

export interface OutputType {
  readonly dtype: GraphDType;
  readonly shape: Shape;
}

export interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: Output[];
  /** Nodes that must have run before this one. */
  readonly control: GraphNode[];
  readonly attributes: Record<string, Attribute>;
  readonly outputs: readonly OutputType[];
  /** The replica that computes it. Absent: each replica does, in its own copy of the graph. */
  readonly replica?: number | undefined;
}

/** The `index`-th result of `node`, with its type. */
export interface Output extends OutputType {
  readonly node: GraphNode;
  readonly index: number;
}

interface NodeOptions {
  readonly attributes?: Record<string, Attribute>;
  readonly control?: readonly GraphNode[];
  /** Last part of the node's name. Default: the op's name and a number. */
  readonly name?: string;
}

/** How matrix products are computed. */
export interface ProductRules {
  readonly precision: Precision;
  /** Number of multiplications from which a product of two matrices uses our own kernel. */
  readonly ownFrom: number;
  /** Whether TensorFlow multiplies bfloat16. If not, operands are widened before its products. */
  readonly multipliesBfloat16: boolean;
}

/** Decodes each byte to one character. */
const singleBytes = new TextDecoder('latin1');

/** Collects the nodes of one function (or of the shared state); names start with `prefix`. */
export class Graph {
  readonly nodes: GraphNode[] = [];
  private readonly constants = new Map<string, Output>();
  /** The replica that computes the next nodes, except those that use a variable of another. Only in joint graphs. */
  replica: number | undefined;
  /** Nodes added so far, for their names. Not `nodes.length`: compile.ts replaces nodes, and names must differ. */
  private added = 0;

  constructor(
    readonly prefix: string,
    /** Native ops (native-ops.ts) that the graph may use. */
    readonly nativeOps: ReadonlySet<string> = new Set(),
    readonly products: ProductRules = {
      precision: 'f32',
      ownFrom: Number.POSITIVE_INFINITY,
      multipliesBfloat16: false,
    },
    readonly device: 'cpu' | 'gpu' = 'cpu',
    /** Whether this is one graph across all replicas, in which nodes name the replica that computes them. */
    readonly joint = false,
  ) {}

  /** Appends a node with any number of outputs. */
  addNode(op: string, inputs: readonly Output[], outputs: readonly OutputType[], options: NodeOptions = {}): GraphNode {
    const handle = inputs.find(({ dtype }) => dtype === 'resource');
    const replica = handle?.node.replica ?? this.replica ?? inputs.find(hasReplica)?.node.replica;
    const node: GraphNode = {
      name: `${this.prefix}/${options.name ?? `${op}_${this.added}`}`,
      op,
      inputs: [...inputs],
      control: [...(options.control ?? [])],
      attributes: options.attributes ?? {},
      // An output may be passed as a type; its own node must not become part of this one.
      outputs: outputs.map(({ dtype, shape }) => ({ dtype, shape })),
      ...(replica !== undefined && { replica }),
    };
    this.nodes.push(node);
    this.added += 1;
    return node;
  }

  /** Appends a node with one output and returns that output. */
  add(op: string, inputs: readonly Output[], type: OutputType, options: NodeOptions = {}): Output {
    return outputOf(this.addNode(op, inputs, [type], options), 0);
  }

  /**
   * A constant. Equal constants are stored once per function, and uniform ones as a single element: one element in `data` with
   * a larger shape stands for all.
   */
  constant(dtype: GraphDType, shape: Shape, data: ConstantValue['data']): Output {
    // Copied, since the graph is encoded later and the array may have changed by then.
    const value = { dtype, shape, data: uniform(data) ? data.slice(0, 1) : data.slice() };
    const { buffer, byteOffset, byteLength } = value.data;
    const bytes = singleBytes.decode(new Uint8Array(buffer, byteOffset, byteLength));
    const key = `${this.replica} ${dtype} ${shape.join(',')} ${bytes}`;
    let output = this.constants.get(key);
    if (output === undefined) {
      output = this.add(
        'Const',
        [],
        { dtype, shape },
        { attributes: { dtype: { type: dtype }, value: { tensor: value } } },
      );
      this.constants.set(key, output);
    }
    return output;
  }

  /** An int32 vector, as shapes, axes and permutations are given to TensorFlow. */
  ints(values: readonly number[]): Output {
    return this.constant('int32', [values.length], Int32Array.from(values));
  }

  int(value: number): Output {
    return this.constant('int32', [], Int32Array.of(value));
  }
}

function hasReplica({ node }: Output): boolean {
  return node.replica !== undefined;
}

/** `name` with invalid characters for node names replaced. Different names may become equal. */
export function plainName(name: string): string {
  return name.replace(/[^\w.-]/g, '_');
}

export function outputOf(node: GraphNode, index: number): Output {
  const type = node.outputs[index];
  if (type === undefined) throw new Error(`${node.name} has ${node.outputs.length} outputs and no output ${index}`);
  return { node, index, dtype: type.dtype, shape: type.shape };
}

function uniform(data: ConstantValue['data']): boolean {
  const first = data[0];
  for (let index = 1; index < data.length; index++) {
    // Object.is distinguishes -0 from 0 and treats NaN as equal to itself.
    if (!Object.is(data[index], first)) return false;
  }
  return data.length > 1;
}
