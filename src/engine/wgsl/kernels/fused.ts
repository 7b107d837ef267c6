/**
 * @file Kernels that are more than a function of an index: RMSNorm, log-probs and draws work on rows; gradients of embeddings
 * and in-place updates write to indexed positions.
 */
import type { GraphNode } from '../../graph/graph.js';
import { nativeOps } from '../../lowering/native-ops.js';
import { type Shape, sizeOf, take } from '../../shape.js';
import { attribute, numbersOf } from '../expressions.js';
import { coordinate, KernelWriter, literal } from '../kernel.js';
import { attention, attentionGradient, cachedAttention } from './attention.js';
import { productExpression } from './products.js';
import { columnSums, combined, float, type Kernel, overRow } from './rows.js';

const rowsOf = (shape: Shape) => sizeOf(shape.slice(0, -1));

const rmsNorm: Kernel = ({ values, threads, result }, node) => {
  const [x, weight] = take(node.inputs, 2);
  const writer = new KernelWriter(values);
  const D = x.shape.at(-1)!;
  const at = `row * ${D}u + k`;
  const body = `var total = 0f;
  ${overRow(D, threads, `let x = ${writer.element(x, at)}; total += x * x;`)}
  ${combined(writer, threads, 'total', 'sum')}
  let inverse = inverseSqrt(total / ${float(D)} + ${float(Number(attribute(node, 'epsilon')))});
  ${overRow(D, threads, writer.store(result(node, 0), at, `${writer.element(x, at)} * inverse * ${writer.element(weight, 'k')}`))}
  if (lane == 0u) { ${writer.store(result(node, 1), 'row', 'inverse')} }`;
  return [writer.perRow(rowsOf(x.shape), threads, body)];
};

const rmsNormGradient: Kernel = ({ values, threads, result }, node) => {
  const [dy, x, weight, inverse] = take(node.inputs, 4);
  const D = x.shape.at(-1)!;
  const rows = rowsOf(x.shape);
  const writer = new KernelWriter(values);
  const at = `row * ${D}u + k`;
  const normal = (w: KernelWriter, index: string, row: string) => `${w.element(x, index)} * ${w.element(inverse, row)}`;
  const scaled = `${writer.element(dy, at)} * ${writer.element(weight, 'k')}`;
  const body = `var along = 0f;
  ${overRow(D, threads, `along += ${scaled} * ${normal(writer, at, 'row')};`)}
  ${combined(writer, threads, 'along', 'sum')}
  along /= ${float(D)};
  ${overRow(D, threads, writer.store(result(node, 0), at, `(${scaled} - ${normal(writer, at, 'row')} * along) * ${writer.element(inverse, 'row')}`))}`;
  const columns = new KernelWriter(values);
  const cell = `row * ${D}u + column`;
  const sums = columnSums(
    columns,
    { rows, columns: D, threads },
    `${columns.element(dy, cell)} * ${normal(columns, cell, 'row')}`,
    columns.store(result(node, 1), 'column', 'sum'),
  );
  return [writer.perRow(rows, threads, body), sums];
};

/** `-> [log-prob], [max, log sum]` of scaled logits. */
const logProb: Kernel = ({ values, threads, result }, node) => {
  const [logits, ids, scale] = take(node.inputs, 3);
  const [N, V] = take(logits.shape, 2);
  const writer = new KernelWriter(values);
  const logit = (k: string) => writer.element(logits, `row * ${V}u + ${k}`);
  const factor = writer.element(scale, '0u');
  const body = `${logSum(writer, threads, V, logit, factor)}
  if (lane == 0u) {
    ${writer.store(result(node, 0), 'row', `(${logit(`u32(${writer.element(ids, 'row')})`)} - top) * ${factor} - logTotal`)}
    ${writer.store(result(node, 1), 'row * 2u', `top * ${factor}`)} ${writer.store(result(node, 1), 'row * 2u + 1u', 'logTotal')}
  }`;
  return [writer.perRow(N, threads, body)];
};

/**
 * Leaves the largest logit in `top`, the sum of exp((logit - top) * factor) in `total` and its logarithm in `logTotal`. The
 * difference is multiplied, not each logit: a card may round logit * factor - top only once, and with the factor of greedy
 * sampling, 1e20, that leaves a remainder of 1e13 where it should be 0.
 */
function logSum(writer: KernelWriter, threads: number, V: number, logit: (k: string) => string, factor = '1f'): string {
  return `var top = ${float(Number.NEGATIVE_INFINITY)};
  ${overRow(V, threads, `top = max(top, ${logit('k')});`)}
  ${combined(writer, threads, 'top', 'max')}
  var total = 0f;
  ${overRow(V, threads, `total += safeExp((${logit('k')} - top) * ${factor});`)}
  ${combined(writer, threads, 'total', 'sum')}
  let logTotal = safeLog(total);`;
}

const softmax: Kernel = ({ values, threads, result }, node) => {
  const x = node.inputs[0]!;
  const V = x.shape.at(-1)!;
  const writer = new KernelWriter(values);
  const logit = (k: string) => writer.element(x, `row * ${V}u + ${k}`);
  const value = node.op === 'Softmax' ? `exp(${logit('k')} - top) / total` : `${logit('k')} - top - logTotal`;
  const body = `${logSum(writer, threads, V, logit)}
  ${overRow(V, threads, writer.store(result(node, 0), `row * ${V}u + k`, value))}`;
  return [writer.perRow(rowsOf(x.shape), threads, body)];
};

/** The sparse cross entropy and its gradient, as TensorFlow's op. */
const crossEntropy: Kernel = ({ values, threads, result }, node) => {
  const [logits, labels] = take(node.inputs, 2);
  const [N, V] = take(logits.shape, 2);
  const writer = new KernelWriter(values);
  const logit = (k: string) => writer.element(logits, `row * ${V}u + ${k}`);
  const slope = `exp(${logit('k')} - top) / total - select(0f, 1f, i32(k) == ${writer.element(labels, 'row')})`;
  const body = `${logSum(writer, threads, V, logit)}
  ${overRow(V, threads, writer.store(result(node, 1), `row * ${V}u + k`, slope))}
  if (lane == 0u) { ${writer.store(result(node, 0), 'row', `logTotal + top - ${logit(`u32(${writer.element(labels, 'row')})`)}`)} }`;
  return [writer.perRow(N, threads, body)];
};

const draw: Kernel = ({ values, threads, result }, node) => {
  const [logits, uniforms, scale] = take(node.inputs, 3);
  const [B, V] = take(logits.shape, 2);
  const writer = new KernelWriter(values);
  const logit = (k: string) => writer.element(logits, `row * ${V}u + ${k}`);
  const factor = writer.element(scale, '0u');
  const weight = (k: string) => `exp((${logit(k)} - top) * ${factor})`;
  const share = Math.ceil(V / threads);
  // Every lane sums a stretch of the row; the first finds the stretch that holds the draw, then the token in it.
  const sums = threads === 1 ? 'array<f32, 1>' : undefined;
  if (threads > 1) writer.share(`stretches: array<f32, ${threads}>`);
  const body = `${logSum(writer, threads, V, logit, factor)}
  ${sums === undefined ? '' : `var stretches: ${sums};`}
  var own = 0f;
  for (var k = lane * ${share}u; k < min((lane + 1u) * ${share}u, ${V}u); k++) { own += ${weight('k')}; }
  stretches[lane] = own; ${threads > 1 ? 'workgroupBarrier();' : ''}
  if (lane == 0u) {
    var whole = 0f;
    for (var each = 0u; each < ${threads}u; each++) { whole += stretches[each]; }
    let aim = whole * ${writer.element(uniforms, 'row')};
    var before = 0f; var each = 0u;
    while (each < ${threads - 1}u && before + stretches[each] <= aim) { before += stretches[each]; each++; }
    var token = each * ${share}u;
    for (; token < ${V - 1}u; token++) { before += ${weight('token')}; if (before > aim) { break; } }
    ${writer.store(result(node, 0), 'row', 'i32(token)')}
    ${writer.store(result(node, 1), 'row', `(${logit('token')} - top) * ${factor} - logTotal`)}
  }`;
  return [writer.perRow(B, threads, body)];
};

/** `result[ids[n]] += x[n]`: a thread per column, so that sums have a fixed order. */
const segmentSum: Kernel = ({ values, result }, node) => {
  const [x, ids] = take(node.inputs, 2);
  const N = sizeOf(ids.shape);
  const D = sizeOf(x.shape) / N;
  const count = sizeOf(node.outputs[0]!.shape);
  const to = result(node, 0);
  const zeros = new KernelWriter(values);
  const writer = new KernelWriter(values);
  const at = `u32(id) * ${D}u + i`;
  const add = `for (var n = 0u; n < ${N}u; n++) { let id = ${writer.element(ids, 'n')};
    if (id >= 0 && id < ${count / D}) { ${writer.store(to, at, `${writer.load(to, at)} + ${writer.element(x, `n * ${D}u + i`)}`)} } }`;
  return [zeros.each(count, zeros.store(to, 'i', '0f')), writer.each(D, add)];
};

const cumulative: Kernel = ({ values, result }, node) => {
  const [x, along] = take(node.inputs, 2);
  const axis = (numbersOf(along)[0]! + x.shape.length) % x.shape.length;
  const inner = sizeOf(x.shape.slice(axis + 1));
  const count = x.shape[axis]!;
  const writer = new KernelWriter(values);
  const [step, start] = node.op === 'Cumsum' ? ['+', 0] : ['*', 1];
  const k = attribute(node, 'reverse') === true ? `(${count - 1}u - n)` : 'n';
  const at = `(i / ${inner}u) * ${inner * count}u + ${k} * ${inner}u + i % ${inner}u`;
  const store = writer.store(result(node, 0), at, 'sum');
  const add = `sum = sum ${step} ${writer.element(x, at)};`;
  const body = `var sum = ${literal(x.dtype, Number(start))};
  for (var n = 0u; n < ${count}u; n++) { ${attribute(node, 'exclusive') === true ? store + add : add + store} }`;
  return [writer.each(sizeOf(x.shape) / count, body)];
};

/** Ops with kernels of their own, by name. */
export const kernels: Readonly<Record<string, Kernel>> = {
  [nativeOps.rmsNorm]: rmsNorm,
  [nativeOps.rmsNormGradient]: rmsNormGradient,
  [nativeOps.logProb]: logProb,
  [nativeOps.draw]: draw,
  [nativeOps.attention]: attention,
  [nativeOps.attentionGradient]: attentionGradient,
  [nativeOps.cachedAttention]: cachedAttention,
  Softmax: softmax,
  LogSoftmax: softmax,
  SparseSoftmaxCrossEntropyWithLogits: crossEntropy,
  UnsortedSegmentSum: segmentSum,
  Cumsum: cumulative,
  Cumprod: cumulative,
};

/** Other ops that are functions of an index: bodies, by name. */
export const nativeExpressions: Readonly<
  Record<string, (writer: KernelWriter, node: GraphNode, index: number) => string>
> = {
  MatMul: productExpression,
  BatchMatMulV2: productExpression,
  [nativeOps.swiglu]: (writer, { inputs: [gate, up] }) =>
    `let g = ${writer.element(gate!, 'i')}; return g / (1f + exp(-g)) * ${writer.element(up!, 'i')};`,
  [nativeOps.swigluGradient]: (writer, { inputs: [dy, gate, up] }, index) => {
    const start = `let g = ${writer.element(gate!, 'i')}; let sigmoid = 1f / (1f + exp(-g)); let silu = g * sigmoid; let dy = ${writer.element(dy!, 'i')};`;
    if (index === 1) return `${start} return dy * silu;`;
    return `${start} return dy * ${writer.element(up!, 'i')} * (sigmoid + silu * (1f - sigmoid));`;
  },
  [nativeOps.rope]: (writer, node) => {
    const [x, cos, sin] = take(node.inputs, 3);
    const [, T, N, C] = take(x.shape, 4);
    const half = C / 2;
    const rows = cos.shape[0] === 1 ? coordinate([x.shape[0]!, T, N, C], 1) : `(i / ${N * C}u)`;
    const angle = `${rows} * ${half}u + c % ${half}u`;
    // The transpose of a rotation is its inverse.
    const sign = attribute(node, 'back') === true ? '-' : '';
    return `let c = i % ${C}u; let s = ${sign}${writer.element(sin, angle)}; let x = ${writer.element(x, 'i')} * ${writer.element(cos, angle)};
  if (c < ${half}u) { return x - ${writer.element(x, `i + ${half}u`)} * s; }
  return x + ${writer.element(x, `i - ${half}u`)} * s;`;
  },
  [nativeOps.logProbGradient]: (writer, { inputs: [dy, logits, ids, scale, stats] }) => {
    const V = logits!.shape[1]!;
    const factor = writer.element(scale!, '0u');
    const probability = `exp(${writer.element(logits!, 'i')} * ${factor} - ${writer.element(stats!, 'row * 2u')} - ${writer.element(stats!, 'row * 2u + 1u')})`;
    return `let row = i / ${V}u; let chosen = select(0f, 1f, i32(i % ${V}u) == ${writer.element(ids!, 'row')});
  return ${writer.element(dy!, 'row')} * ${factor} * (chosen - ${probability});`;
  },
};
