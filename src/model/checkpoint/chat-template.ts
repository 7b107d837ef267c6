/**
 * @file Renders chat templates, which are untrusted programs. Limits are checked before and after the interpreter of
 * @huggingface/jinja evaluates each node of the syntax tree, so that no template can run forever or exhaust the memory.
 * Operations whose result can be much larger than their input (`range`, `replace`, `join`, `indent`, `tojson`) are checked
 * before they run.
 */
import { Interpreter, Template } from '@huggingface/jinja';
import { withinTime } from '../../util/time-limit.js';

/** Size limit of a template. The longest known ones are about 20 kB. */
export const maxTemplateBytes = 2 ** 18;
/** Limit of evaluated nodes. The longest conversations need a few thousand. */
const maxSteps = 1_000_000;
const maxMilliseconds = 2000;
/** Size limit of one value, in characters. */
const maxSize = 2_000_000;
/** Overhead of a list element or object entry, in characters, added to its own size. */
const elementSize = 40;
/** Limit of the total size of all values made, in characters. */
const maxTotal = 64_000_000;

// The parts of the interpreter's values and nodes that are used here; the package does not export their types.
interface Value {
  readonly type: string;
  readonly value: unknown;
}
interface Node {
  readonly type: string;
  /** The name of an identifier, or the value of a named argument. */
  readonly value?: unknown;
  readonly object?: Node;
  readonly operand?: Node;
  readonly body?: unknown;
  readonly filter?: Node;
  readonly callee?: Node;
  readonly args?: readonly Node[];
  /** Of our own nodes. */
  readonly result?: Value;
}
type Call = (args: Value[], scope: unknown) => Value;
type Evaluate = (node: Node, scope: unknown) => Value;
/** The interpreter's own evaluation of a node, and the checked one for its children. */
interface Evaluators {
  own(node: Node): Value;
  child(node: Node): Value;
}

/**
 * Renders `template` with `variables`.
 *
 * @throws RangeError when a limit is exceeded, or any error raised by the template.
 */
export function renderTemplate(template: string, variables: Readonly<Record<string, unknown>>): string {
  if (template.length > maxTemplateBytes) throw new RangeError(`it has more than ${maxTemplateBytes} characters`);
  const parsed = withinTime(maxMilliseconds, () => new Template(template));
  return withLimits(() => parsed.render({ ...variables }));
}

/** The package creates its own interpreter, so the evaluating method is replaced while one template is rendered. */
function withLimits<T>(render: () => T): T {
  const prototype = Interpreter.prototype as unknown as { evaluate: Evaluate };
  const original = prototype.evaluate;
  const limits = limiter();
  prototype.evaluate = function (this: unknown, node, scope) {
    return limits(node, {
      own: (other) => original.call(this, other, scope),
      child: (other) => prototype.evaluate.call(this, other, scope),
    });
  };
  try {
    return render();
  } finally {
    prototype.evaluate = original;
  }
}

function limiter() {
  const end = performance.now() + maxMilliseconds;
  const sizes = new WeakMap<Value, number>();
  let steps = 0;
  let total = 0;

  /** Size of a value with its contents. Namespaces are mutable, so their size is not cached. */
  const sizeOf = (value: Value, depth = 0): number => {
    const known = sizes.get(value);
    if (known !== undefined) return known;
    if (depth > 100) throw new RangeError('it makes a value nested more than 100 levels deep');
    const inner = value.value;
    let size = 8;
    if (typeof inner === 'string') size += inner.length;
    else if (Array.isArray(inner)) for (const item of inner) size += elementSize + sizeOf(item, depth + 1);
    else if (inner instanceof Map)
      for (const [key, item] of inner) size += key.length + elementSize + sizeOf(item, depth + 1);
    if (size > maxSize) throw tooLarge();
    if (value.type !== 'NamespaceValue') {
      sizes.set(value, size);
      if (depth === 0) total += size;
    }
    return size;
  };

  return (node: Node | undefined, evaluate: Evaluators): Value => {
    if (node?.type === evaluated) return node.result!;
    if (++steps > maxSteps) throw new RangeError(`it takes more than ${maxSteps} steps`);
    if (performance.now() > end) throw new RangeError(`it takes longer than ${maxMilliseconds} ms`);
    const result = evaluateChecked(node, evaluate, sizeOf);
    sizeOf(result);
    if (total > maxTotal) throw new RangeError(`it makes values of more than ${maxTotal} characters`);
    return result;
  };
}

/** Type of a node that holds an evaluated value. */
const evaluated = 'tinyzero:evaluated';
const constant = (result: Value) => ({ type: evaluated, result }) satisfies Node;

/** Evaluates `node`. Operations whose result would be too large are rejected before they run. */
function evaluateChecked(node: Node | undefined, { own, child }: Evaluators, sizeOf: (value: Value) => number): Value {
  switch (node?.type) {
    case 'Identifier': {
      const value = own(node);
      return node.value === 'range' ? guarded(value, (args) => rangeLength(args) * (8 + elementSize)) : value;
    }
    case 'MemberExpression': {
      const object = child(node.object!);
      const value = own({ ...node, object: constant(object) });
      const text = object.value;
      return typeof text === 'string' ? guarded(value, (args) => replacedLength(text, args)) : value;
    }
    case 'FilterStatement':
      return own(checkedFilter({ ...node, operand: { type: 'Program', body: node.body } }, child, sizeOf));
    case 'FilterExpression':
      return own(checkedFilter(node, child, sizeOf));
    default:
      return own(node!);
  }
}

/** Evaluates the operand and arguments of a filter, so that the size of its result can be bounded. */
function checkedFilter(node: Node, evaluate: (node: Node) => Value, sizeOf: (value: Value) => number): Node {
  const filter = node.filter!;
  const name = filter.type === 'CallExpression' && filter.callee!.value;
  if (name !== 'replace' && name !== 'join' && name !== 'indent' && name !== 'tojson') {
    return { ...node, type: 'FilterExpression' };
  }
  const operand = evaluate(node.operand!);
  const values: Value[] = [];
  const args = filter.args!.map((argument) => {
    if (argument.type === 'SpreadExpression' || argument.type === 'KeywordSpreadExpression') {
      throw new RangeError(`it spreads the arguments of \`${name}\`, which is not supported`);
    }
    const isNamed = argument.type === 'KeywordArgumentExpression';
    const value = evaluate((isNamed ? argument.value : argument) as Node);
    values.push(value);
    return isNamed ? { ...argument, value: constant(value) } : constant(value);
  });
  requireSize(filteredLength(name, operand, values, sizeOf));
  return { ...node, type: 'FilterExpression', operand: constant(operand), filter: { ...filter, args } };
}

/** An upper bound on the size of a filter's result. */
function filteredLength(
  name: string,
  operand: Value,
  args: readonly Value[],
  sizeOf: (value: Value) => number,
): number {
  if (name === 'replace' && typeof operand.value === 'string') return replacedLength(operand.value, args);
  const size = sizeOf(operand);
  // The most that can be inserted between two characters: a separator, or the indentation times the depth.
  const between = args.map(({ value }) =>
    typeof value === 'string' ? value.length : typeof value === 'number' ? value : 0,
  );
  const most = Math.max(
    0,
    ...between,
    ...args.map(({ value }) => (Array.isArray(value) ? sizeOf({ type: '', value }) : 0)),
  );
  if (name === 'join') return size + most * (Array.isArray(operand.value) ? operand.value.length : size);
  if (name === 'indent') return size + most * String(operand.value).split('\n').length;
  return size + most * (size / 8);
}

function replacedLength(text: string, [from, to]: readonly Value[]): number {
  if (typeof from?.value !== 'string' || typeof to?.value !== 'string') return 0;
  if (to.value.length <= from.value.length) return text.length;
  if (from.value === '') return text.length + (text.length + 1) * to.value.length;
  let count = 0;
  for (let at = text.indexOf(from.value); at !== -1; at = text.indexOf(from.value, at + from.value.length)) count += 1;
  return text.length + count * (to.value.length - from.value.length);
}

function rangeLength(args: readonly Value[]): number {
  const [first = 0, second, step = 1] = args.map(({ value }) => Number(value));
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  // A step of 0 or NaN never ends.
  return step === 0 || Number.isNaN(start + stop + step)
    ? Number.POSITIVE_INFINITY
    : Math.max(0, (stop - start) / step);
}

/** A function that rejects arguments for which `length` gives too large a result; other values are returned unchanged. */
function guarded(value: Value, length: (args: readonly Value[]) => number): Value {
  if (value.type !== 'FunctionValue') return value;
  const call: Call = (args, scope) => {
    requireSize(length(args));
    return (value.value as Call)(args, scope);
  };
  // The interpreter checks for its own class, which is the value's.
  return Object.assign(Object.create(Object.getPrototypeOf(value)), value, { value: call });
}

function requireSize(size: number): void {
  if (!(size <= maxSize)) throw tooLarge();
}

function tooLarge(): RangeError {
  return new RangeError(`it makes a value of more than ${maxSize} characters`);
}
