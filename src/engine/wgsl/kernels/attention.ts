/** @file Attention of whole sequences with its gradient, and attention to a cache of keys and values. */
import type { GraphNode, Output } from '../../graph/graph.js';
import { take } from '../../shape.js';
import { attribute } from '../expressions.js';
import { type Dispatch, KernelWriter, type Place } from '../kernel.js';
import { combined, float, type Kernel, type KernelContext } from './rows.js';

/** How attention finds its operands: keys and values as tensors with a bias, or in a cache up to each query's position. */
interface Heads {
  readonly sizes: {
    readonly B: number;
    readonly T: number;
    readonly H: number;
    readonly C: number;
    readonly S: number;
    readonly K: number;
  };
  readonly scale: number;
  /** Flat indices of keys and values, from `b`, `head` (of keys) and `s`, without the channel. */
  readonly keyAt: string;
  /** The score's bias, and whether `s` may be attended to. */
  bias(writer: KernelWriter): string;
  limit(writer: KernelWriter): string;
}

function plainHeads(node: GraphNode, q: Output, k: Output, bias: Output): Heads {
  const [B, T, H, C] = take(q.shape, 4);
  const [, S, K] = take(k.shape, 3);
  const from = bias.shape[0] === 1 ? '0u' : 'b';
  return {
    sizes: { B, T, H, C, S, K },
    scale: Number(attribute(node, 'scale')),
    keyAt: `((b * ${S}u + s) * ${K}u + head) * ${C}u`,
    bias: (writer) => ` + ${writer.element(bias, `(${from} * ${T}u + t) * ${S}u + s`)}`,
    limit: () => `${S}u`,
  };
}

function cachedHeads(node: GraphNode, q: Output, positions: Output): Heads {
  const [B, T, H, C] = take(q.shape, 4);
  const [S, K] = [Number(attribute(node, 'length')), Number(attribute(node, 'kv_heads'))];
  const at = positions.shape[0] === 1 ? 't' : `b * ${T}u + t`;
  return {
    sizes: { B, T, H, C, S, K },
    scale: Number(attribute(node, 'scale')),
    keyAt: `((b * ${K}u + head) * ${S}u + s) * ${C}u`,
    bias: () => '',
    limit: (writer) => `min(u32(${writer.element(positions, at)}) + 1u, ${S}u)`,
  };
}

/** Coordinates of a row of scores, `[B, H, T]`, and the key head. */
function scoreRow({ sizes: { H, T, K } }: Heads, row = 'row'): string {
  return `let b = ${row} / ${H * T}u; let h = (${row} / ${T}u) % ${H}u; let t = ${row} % ${T}u; let head = h / ${H / K}u;`;
}

/** The weights of all scores `[B, H, T, S]` go to `weights`; then the weighted sum of values. */
function attentionForward(
  { values, threads, result, scratch }: KernelContext,
  node: GraphNode,
  heads: Heads,
  [q, k, v]: readonly [Output, Output, Output],
  stats?: Place,
): Dispatch[] {
  const { B, T, H, C, S, K } = heads.sizes;
  const weights = scratch(B * H * T * S);
  const writer = new KernelWriter(values);
  const query = `((b * ${T}u + t) * ${H}u + h) * ${C}u + c`;
  const dot = `var score = 0f; for (var c = 0u; c < ${C}u; c++) { score += ${writer.element(q, query)} * ${writer.element(k, `${heads.keyAt} + c`)}; }`;
  const at = `row * ${S}u + s`;
  const overKeys = (body: string) => `for (var s = lane; s < limit; s += ${threads}u) { ${body} }`;
  const keep =
    stats === undefined
      ? ''
      : `if (lane == 0u) { ${writer.store(stats, 'row * 2u', 'top')} ${writer.store(stats, 'row * 2u + 1u', 'total')} }`;
  const scores = `${scoreRow(heads)} let limit = ${heads.limit(writer)};
  var top = ${float(Number.NEGATIVE_INFINITY)};
  ${overKeys(`${dot} score = score * ${float(heads.scale)}${heads.bias(writer)}; ${writer.store(weights, at, 'score')} top = max(top, score);`)}
  ${combined(writer, threads, 'top', 'max')}
  var total = 0f;
  ${overKeys(`let weight = safeExp(${writer.load(weights, at)} - top); ${writer.store(weights, at, 'weight')} total += weight;`)}
  ${combined(writer, threads, 'total', 'sum')}
  ${overKeys(writer.store(weights, at, `${writer.load(weights, at)} / total`))}
  ${keep}`;
  const mixer = new KernelWriter(values);
  const mix = `let c = i % ${C}u; let h = (i / ${C}u) % ${H}u; let t = (i / ${H * C}u) % ${T}u; let b = i / ${T * H * C}u; let head = h / ${H / K}u;
  let row = (b * ${H}u + h) * ${T}u + t; let limit = ${heads.limit(mixer)};
  var sum = 0f;
  for (var s = 0u; s < limit; s++) { sum += ${mixer.load(weights, at)} * ${mixer.element(v, `${heads.keyAt} + c`)}; }
  ${mixer.store(result(node, 0), 'i', 'sum')}`;
  return [writer.perRow(B * H * T, threads, scores), mixer.each(B * T * H * C, mix)];
}

export const attentionGradient: Kernel = ({ values, result, scratch }, node) => {
  const [dy, q, k, v, bias, out, stats] = take(node.inputs, 7);
  const heads = plainHeads(node, q, k, bias);
  const { B, T, H, C, S, K } = heads.sizes;
  const [weights, slopes] = [scratch(B * H * T * S), scratch(B * H * T * S)];
  const query = `((b * ${T}u + t) * ${H}u + h) * ${C}u + c`;
  const scorer = new KernelWriter(values);
  const key = `${heads.keyAt} + c`;
  const first = `let s = i % ${S}u; let row = i / ${S}u; ${scoreRow(heads)}
  var score = 0f; var slope = 0f; var along = 0f;
  for (var c = 0u; c < ${C}u; c++) {
    let dy = ${scorer.element(dy, query)};
    score += ${scorer.element(q, query)} * ${scorer.element(k, key)};
    slope += dy * ${scorer.element(v, key)};
    along += dy * ${scorer.element(out, query)};
  }
  score = score * ${float(heads.scale)}${heads.bias(scorer)};
  let weight = exp(score - ${scorer.element(stats, 'row * 2u')}) / ${scorer.element(stats, 'row * 2u + 1u')};
  ${scorer.store(weights, 'i', 'weight')} ${scorer.store(slopes, 'i', 'weight * (slope - along)')}`;
  const queries = new KernelWriter(values);
  const dq = `let c = i % ${C}u; let h = (i / ${C}u) % ${H}u; let t = (i / ${H * C}u) % ${T}u; let b = i / ${T * H * C}u; let head = h / ${H / K}u;
  let row = (b * ${H}u + h) * ${T}u + t; var sum = 0f;
  for (var s = 0u; s < ${S}u; s++) { sum += ${queries.load(slopes, `row * ${S}u + s`)} * ${queries.element(k, key)}; }
  ${queries.store(result(node, 0), 'i', `sum * ${float(heads.scale)}`)}`;
  const keys = new KernelWriter(values);
  const dkv = `let c = i % ${C}u; let head = (i / ${C}u) % ${K}u; let s = (i / ${K * C}u) % ${S}u; let b = i / ${S * K * C}u;
  var dk = 0f; var dv = 0f;
  for (var g = 0u; g < ${H / K}u; g++) { let h = head * ${H / K}u + g;
    for (var t = 0u; t < ${T}u; t++) { let cell = ((b * ${H}u + h) * ${T}u + t) * ${S}u + s;
      dk += ${keys.load(slopes, 'cell')} * ${keys.element(q, query)};
      dv += ${keys.load(weights, 'cell')} * ${keys.element(dy, query)}; } }
  ${keys.store(result(node, 1), 'i', `dk * ${float(heads.scale)}`)} ${keys.store(result(node, 2), 'i', 'dv')}`;
  return [scorer.each(B * H * T * S, first), queries.each(B * T * H * C, dq), keys.each(B * S * K * C, dkv)];
};

export const attention: Kernel = (context, node) => {
  const [q, k, v, bias] = take(node.inputs, 4);
  return attentionForward(context, node, plainHeads(node, q, k, bias), [q, k, v], context.result(node, 1));
};

export const cachedAttention: Kernel = (context, node) => {
  const [q, keys, values, positions] = take(node.inputs, 4);
  return attentionForward(context, node, cachedHeads(node, q, positions), [q, keys, values]);
};
