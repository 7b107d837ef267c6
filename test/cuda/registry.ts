/**
 * @file The ops and kernels of a build of TensorFlow, as it lists them itself (TF_GetAllOpList, TF_GetAllRegisteredKernels):
 * OpList of op_def.proto and KernelList of kernel_def.proto. Listing the kernels of a GPU needs no GPU.
 */
import { readFileSync } from 'node:fs';
import { dtypeNumbers, type GraphDType } from '../../src/engine/dtype.js';
import type { Attribute, GraphNode } from '../../src/engine/graph/graph.js';
import { fields } from '../helpers/protobuf.js';

/** An argument of an op: how many tensors it stands for, and of which type. */
interface Argument {
  readonly name: string;
  /** A fixed type, or the attribute that names it, its number of tensors, or their list of types. */
  readonly type?: number;
  readonly typeAttribute?: string;
  readonly countAttribute?: string;
  readonly listAttribute?: string;
}

interface Operation {
  readonly inputs: readonly Argument[];
  readonly outputs: readonly Argument[];
  /** Default types of attributes. */
  readonly defaults: ReadonlyMap<string, number>;
}

export interface Kernel {
  /** `GPU`, `CPU`, or `DEFAULT` for any device without a kernel of its own. */
  readonly device: string;
  /** Attribute -> types that it may have. */
  readonly types: ReadonlyMap<string, ReadonlySet<number>>;
  /** Arguments that stay in the memory of the host. */
  readonly hostArguments: ReadonlySet<string>;
}

export interface Registry {
  readonly ops: ReadonlyMap<string, Operation>;
  readonly kernels: ReadonlyMap<string, readonly Kernel[]>;
}

export function readRegistry(opsFile: string, kernelsFile: string): Registry {
  const ops = new Map<string, Operation>();
  for (const { value } of fields(readFileSync(opsFile))) {
    const parts = fields(value as Buffer);
    const of = (field: number) => parts.filter((part) => part.field === field).map((part) => part.value as Buffer);
    const defaults = new Map<string, number>();
    for (const attribute of of(4)) {
      const found = new Map(fields(attribute).map((part) => [part.field, part.value]));
      const type = found.has(3) && fields(found.get(3) as Buffer).find(({ field }) => field === 6);
      if (type) defaults.set(String(found.get(1)), Number(type.value));
    }
    ops.set(String(of(1)[0]), { inputs: of(2).map(argument), outputs: of(3).map(argument), defaults });
  }
  const kernels = new Map<string, Kernel[]>();
  for (const { value } of fields(readFileSync(kernelsFile))) {
    const parts = fields(value as Buffer);
    const texts = (field: number) => parts.filter((part) => part.field === field).map((part) => String(part.value));
    if (texts(5).some((label) => label !== '')) continue; // chosen by name only
    const types = new Map(parts.filter(({ field }) => field === 3).map((part) => constraint(part.value as Buffer)));
    const [op = '', device = ''] = [texts(1)[0], texts(2)[0]];
    const kernel = { device, types, hostArguments: new Set(texts(4)) };
    const known = kernels.get(op);
    if (known === undefined) kernels.set(op, [kernel]);
    else known.push(kernel);
  }
  return { ops, kernels };
}

function argument(message: Buffer): Argument {
  const found = new Map(fields(message).map((part) => [part.field, part.value]));
  const text = (field: number) => (found.has(field) ? String(found.get(field)) : '');
  const type = Number(found.get(3) ?? 0);
  return {
    name: text(1),
    ...(type > 0 && { type }),
    ...(text(4) && { typeAttribute: text(4) }),
    ...(text(5) && { countAttribute: text(5) }),
    ...(text(6) && { listAttribute: text(6) }),
  };
}

/** KernelDef.AttrConstraint: a name, and an AttrValue with a list of types. */
function constraint(message: Buffer): [string, Set<number>] {
  const found = new Map(fields(message).map((part) => [part.field, part.value]));
  const types = new Set<number>();
  for (const list of fields(found.get(2) as Buffer).filter(({ field }) => field === 1)) {
    for (const { field, value } of fields(list.value as Buffer)) {
      if (field !== 6) continue;
      if (typeof value === 'bigint') types.add(Number(value));
      else for (const type of value) types.add(type); // packed; all numbers of types are below 128
    }
  }
  return [String(found.get(1)), types];
}

/** The kernel that runs `node` on a device, as TensorFlow finds it: the device's own, otherwise one for every device. */
export function kernelFor({ ops, kernels }: Registry, node: GraphNode, device: 'GPU' | 'CPU'): Kernel | undefined {
  const operation = ops.get(node.op);
  const fits = ({ types }: Kernel) =>
    [...types].every(([name, allowed]) =>
      allowed.has(typeOf(node.attributes[name]) ?? operation?.defaults.get(name) ?? 0),
    );
  const found = kernels.get(node.op) ?? [];
  for (const place of [device, 'DEFAULT']) {
    const kernel = found.find((each) => each.device === place && fits(each));
    if (kernel !== undefined) return kernel;
  }
  return undefined;
}

function typeOf(attribute: Attribute | undefined): number | undefined {
  return attribute !== undefined && 'type' in attribute ? dtypeNumbers[attribute.type as GraphDType] : undefined;
}

/** The names of the arguments of a node's inputs or outputs, one for each tensor. */
export function argumentNames({ ops }: Registry, node: GraphNode, side: 'inputs' | 'outputs'): string[] {
  const operation = ops.get(node.op);
  if (operation === undefined) throw new Error(`this build has no op ${node.op}`);
  const counted = operation[side].map((each): [string, number] => {
    const attribute = node.attributes[each.countAttribute ?? ''];
    return [each.name, attribute !== undefined && 'int' in attribute ? attribute.int : 1];
  });
  const listed = operation[side].findIndex(({ listAttribute }) => listAttribute !== undefined);
  const total = node[side].length;
  // At most one argument is a list of types here; it stands for what the others leave.
  if (listed >= 0) counted[listed]![1] += total - counted.reduce((sum, [, count]) => sum + count, 0);
  const names = counted.flatMap(([name, count]) => new Array<string>(count).fill(name));
  if (names.length !== total)
    throw new Error(`${node.name}: ${names.length} ${side} by its definition, found ${total}`);
  return names;
}
