/**
 * @file Products of matrices. A workgroup computes a tile of the result from tiles of the factors in its shared memory; with few
 * rows it computes a few columns, and its threads divide the sums. Element-wise ops that follow a product run before
 * its only store.
 */
import type { GraphNode, Output } from '../../graph/graph.js';
import { type Shape, sizeOf, take } from '../../shape.js';
import { attribute } from '../expressions.js';
import { broadcastIndex, type Dispatch, type KernelWriter, NeedsMemory } from '../kernel.js';
import { sharedBytes, type Tile, type Tuning, threadsOf } from '../tuning.js';

export const isProduct = ({ op }: GraphNode): boolean => op === 'MatMul' || op === 'BatchMatMulV2';

interface Product {
  readonly a: Output;
  readonly b: Output;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly batch: Shape;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

function productOf(node: GraphNode): Product {
  const [a, b] = take(node.inputs, 2);
  const isBatch = node.op === 'BatchMatMulV2';
  const transposeA = attribute(node, isBatch ? 'adj_x' : 'transpose_a') === true;
  const transposeB = attribute(node, isBatch ? 'adj_y' : 'transpose_b') === true;
  const { shape } = node.outputs[0]!;
  const [M, N] = take(shape.slice(-2), 2);
  const K = a.shape.at(transposeA ? -2 : -1)!;
  return { a, b, transposeA, transposeB, batch: shape.slice(0, -2), M, N, K };
}

/** Where the matrix of batch `batch` of a factor begins, with a plus sign; '' if there is one for all. */
function start(x: Output, batch: Shape, index: string): string {
  const own = x.shape.slice(0, -2);
  if (sizeOf(own) === 1) return '';
  return `(${broadcastIndex(own, batch, index)}) * ${sizeOf(x.shape.slice(-2))}u + `;
}

/** The element of a factor at indices along the result's side and along the sum. */
function leftElement(writer: KernelWriter, { a, transposeA, batch, M, K }: Product, m: string, k: string): string {
  return writer.element(a, start(a, batch, 'batch') + (transposeA ? `(${k}) * ${M}u + ${m}` : `(${m}) * ${K}u + ${k}`));
}

function rightElement(writer: KernelWriter, { b, transposeB, batch, N, K }: Product, n: string, k: string): string {
  return writer.element(b, start(b, batch, 'batch') + (transposeB ? `(${n}) * ${K}u + ${k}` : `(${k}) * ${N}u + ${n}`));
}

/** The body of a function of `i`: one thread sums all of an element. */
export function productExpression(writer: KernelWriter, node: GraphNode): string {
  const product = productOf(node);
  const { M, N, K } = product;
  return `let batch = i / ${M * N}u; let m = (i / ${N}u) % ${M}u; let n = i % ${N}u; var sum = 0f;
  for (var k = 0u; k < ${K}u; k++) { sum += ${leftElement(writer, product, 'm', 'k')} * ${rightElement(writer, product, 'n', 'k')}; }
  return sum;`;
}

/** Whether one kernel can compute both: their elements are at the same places. */
const isSameGrid = (one: Product, other: Product): boolean =>
  one.M === other.M && one.N === other.N && sizeOf(one.batch) === sizeOf(other.batch);

/** Most products of one kernel: more would leave a thread too few registers for the sums of each. */
const mostProducts = 2;

/**
 * A kernel that computes all elements of `products` and runs `main`, statements with the element's number `i`, for each. The product
 * number p of an element is in the private variable `product{p}`.
 *
 * @throws NeedsMemory for a product that cannot be computed with the others.
 */
export function productKernel(
  writer: KernelWriter,
  outputs: readonly Output[],
  tuning: Tuning,
  main: string,
): Dispatch {
  const products = outputs.map(({ node }) => productOf(node));
  const other = products.findIndex((product) => !isSameGrid(product, products[0]!));
  if (other > 0) throw new NeedsMemory(outputs[other]!);
  if (products.length > mostProducts) throw new NeedsMemory(outputs[mostProducts]!);
  return products[0]!.M <= tuning.fewRows
    ? fewRowsKernel(writer, products, tuning, main)
    : tiledKernel(writer, products, tuning, main);
}

/** The kernel's last part: `main` for the element of row `m` and column `n`. */
function epilogue(writer: KernelWriter, products: readonly Product[], main: string): string {
  const { M, N, batch } = products[0]!;
  const sums = products.map((_, p) => `sum${p}: f32`).join(', ');
  const assign = products.map((_, p) => `product${p} = sum${p};`).join(' ');
  const index = `${sizeOf(batch) === 1 ? '' : `batch * ${M * N}u + `}m * ${N}u + n`;
  writer.define(`fn finish(batch: u32, m: u32, n: u32, ${sums}) { let i = ${index}; ${assign} ${main} }`);
  return 'finish';
}

function fewRowsKernel(writer: KernelWriter, products: readonly Product[], tuning: Tuning, main: string): Dispatch {
  const { M, N, batch } = products[0]!;
  const K = Math.max(...products.map((product) => product.K));
  const threads = tuning.threads;
  // Neighbouring threads read neighbouring elements: along the sum if the right factor is transposed, otherwise along columns.
  const isAlong = products[0]!.transposeB;
  let slices = Math.min(32, threads);
  const fewestSums = 4;
  const columnsOf = () => threads / slices;
  const groupsOf = () => Math.ceil(N / columnsOf()) * sizeOf(batch);
  while (slices < threads && K / slices > fewestSums && groupsOf() < tuning.groups) slices *= 2;
  if (!isAlong) slices = Math.min(slices, threads / 8);
  const columns = columnsOf();
  const blocks = Math.ceil(N / columns);
  writer.share(`sums: array<f32, ${threads * M}>`);
  const [slice, column] = isAlong
    ? [`thread % ${slices}u`, `thread / ${slices}u`]
    : [`thread / ${columns}u`, `thread % ${columns}u`];
  const rows = Array.from({ length: M }, (_, m) => m);
  const finish = epilogue(writer, products, main);
  const at = (lane: string, other: string) =>
    isAlong ? `${other} * ${slices}u + ${lane}` : `${lane} * ${columns}u + ${other}`;
  const parts = products.map((product, p) => {
    const turns = Math.ceil(product.K / slices);
    const checks = [
      ...(turns * slices > product.K ? [`k < ${product.K}u`] : []),
      ...(blocks * columns > N ? [`n < ${N}u`] : []),
    ];
    const add = `let y = ${rightElement(writer, product, 'n', 'k')};
      ${rows.map((m) => `part${m} += ${leftElement(writer, product, `${m}u`, 'k')} * y;`).join(' ')}`;
    return `{
    ${rows.map((m) => `var part${m} = 0f;`).join(' ')}
    for (var turn = 0u; turn < ${turns}u; turn++) { let k = turn * ${slices}u + slice;
      ${checks.length === 0 ? add : `if (${checks.join(' && ')}) { ${add} }`} }
    ${p === 0 ? '' : 'workgroupBarrier();'}
    ${rows.map((m) => `sums[${m * threads}u + thread] = part${m};`).join(' ')}
    workgroupBarrier();
    for (var half = ${slices / 2}u; half > 0u; half /= 2u) {
      if (slice < half) { ${rows.map((m) => `sums[${m * threads}u + thread] += sums[${m * threads}u + ${at('(slice + half)', 'column')}];`).join(' ')} }
      workgroupBarrier();
    }
    ${rows.map((m) => `if (thread < ${columns}u) { whole${p}_${m} = sums[${m * threads}u + ${at('0u', 'thread')}]; }`).join(' ')}
  }`;
  });
  const body = `let thread = local.x; let slice = ${slice}; let column = ${column};
  let block = tile % ${blocks}u; let batch = tile / ${blocks}u; let n = block * ${columns}u + column;
  ${products.map((_, p) => rows.map((m) => `var whole${p}_${m} = 0f;`).join(' ')).join(' ')}
  ${parts.join('\n  ')}
  let own = block * ${columns}u + thread;
  if (thread < ${columns}u && own < ${N}u) {
    ${rows.map((m) => `${finish}(batch, ${m}u, own, ${products.map((_, p) => `whole${p}_${m}`).join(', ')});`).join(' ')}
  }`;
  return writer.perTile(blocks * sizeOf(batch), threads, body);
}

/** The first tile that gives the card enough workgroups, without many rows or columns outside the result. */
function chooseTile(products: readonly Product[], { tiles, threads, sharedBytes: limit, groups }: Tuning): Tile {
  const { M, N, batch } = products[0]!;
  const fitting = tiles.filter(
    (tile) => threadsOf(tile) <= threads && sharedBytes(tile) <= limit && (tile.own === 4 || products.length === 1),
  );
  const groupsOf = (tile: Tile) => Math.ceil(M / tile.rows) * Math.ceil(N / tile.columns) * sizeOf(batch);
  const fills = (tile: Tile) => tile.rows < 2 * M && tile.columns < 2 * N;
  return fitting.find((tile) => fills(tile) && groupsOf(tile) >= groups) ?? fitting.at(-1)!;
}

function tiledKernel(writer: KernelWriter, products: readonly Product[], tuning: Tuning, main: string): Dispatch {
  const { M, N, batch } = products[0]!;
  const tile = chooseTile(products, tuning);
  const { rows, columns, own, slices, depth } = tile;
  const threads = threadsOf(tile);
  const across = columns / own;
  const perSlice = threads / slices;
  const [downTiles, acrossTiles] = [Math.ceil(M / rows), Math.ceil(N / columns)];
  const whole = depth * slices;
  const [leftStride, rightStride] = [rows / 4 + 1, columns / 4 + 1];
  writer.share(`left: array<vec4f, ${whole * leftStride}>`);
  writer.share(`right: array<vec4f, ${whole * rightStride}>`);
  const finish = epilogue(writer, products, main);
  const vectors = own / 4;
  const range = (length: number) => Array.from({ length }, (_, index) => index);
  /** The accumulator of a thread's row and vector of columns. */
  const sum = (p: number, row: number, vector: number) => `sum${p}_${row}_${vector}`;
  const eachSum = (p: number, write: (name: string, row: number, vector: number) => string) =>
    range(own)
      .flatMap((row) => range(vectors).map((vector) => write(sum(p, row, vector), row, vector)))
      .join(' ');
  /** Copies a factor's tile: four elements along the result's side a turn, neighbouring threads along what is contiguous. */
  const copy = (name: string, product: Product, side: number, size: number, stride: number, isAlongSum: boolean) => {
    const quads = side / 4;
    const count = quads * whole;
    const [quad, step] = isAlongSum ? [`at / ${whole}u`, `at % ${whole}u`] : [`at % ${quads}u`, `at / ${quads}u`];
    const tileStart = name === 'left' ? 'top' : 'first';
    const element = name === 'left' ? leftElement : rightElement;
    const isRagged = size % side !== 0;
    const lanes = range(4).map((lane) => {
      const load = `quadValue[${lane}] = ${element(writer, product, `(own + ${lane}u)`, 'k')};`;
      return isRagged ? `if (own + ${lane}u < ${size}u) { ${load} }` : load;
    });
    const loads = lanes.join(' ');
    const isCut = product.K % whole !== 0;
    return `for (var turn = 0u; turn < ${Math.ceil(count / threads)}u; turn++) { let at = turn * ${threads}u + thread;
      ${count % threads === 0 ? '' : `if (at < ${count}u) {`}
      let quad = ${quad}; let step = ${step}; let own = ${tileStart} + quad * 4u; let k = begin + step; var quadValue = vec4f();
      ${isCut ? `if (k < ${product.K}u) { ${loads} }` : loads}
      ${name}[step * ${stride}u + quad] = quadValue; ${count % threads === 0 ? '' : '}'} }`;
  };
  const vectorAt = (name: string, stride: number, lane: string, lanes: number, vector: number) =>
    `${name}[(slice * ${depth}u + step) * ${stride}u + ${vector * lanes}u + ${lane}]`;
  const parts = products.map((product, p) => {
    const loadLeft = range(vectors).map((v) => `let x${v} = ${vectorAt('left', leftStride, 'y', rows / own, v)};`);
    const loadRight = range(vectors).map((v) => `let y${v} = ${vectorAt('right', rightStride, 'x', across, v)};`);
    const multiply = eachSum(p, (name, row, vector) => `${name} += x${row >> 2}[${row & 3}] * y${vector};`);
    // All sums of a thread as an array. Code that runs once loops over it: a driver compiles a loop faster than a list.
    const list = `all${p}`;
    const overSums = (body: string) => `for (var each = 0u; each < ${own * vectors}u; each++) { ${body} }`;
    const gather =
      slices === 1
        ? ''
        : `for (var other = 1u; other < ${slices}u; other++) {
      if (slice == other) { ${overSums(`parts[each * ${perSlice}u + cell] = ${list}[each];`)} }
      workgroupBarrier();
      if (slice == 0u) { ${overSums(`${list}[each] += parts[each * ${perSlice}u + cell];`)} }
      workgroupBarrier(); }`;
    return `for (var begin = 0u; begin < ${product.K}u; begin += ${whole}u) {
    ${copy('left', product, rows, M, leftStride, !product.transposeA)}
    ${copy('right', product, columns, N, rightStride, product.transposeB)}
    workgroupBarrier();
    for (var step = 0u; step < ${depth}u; step++) { ${loadLeft.join(' ')} ${loadRight.join(' ')}
      ${multiply} }
    workgroupBarrier();
  }
  var ${list} = array<vec4f, ${own * vectors}>(${eachSum(p, (name) => `${name}, `)});
  ${gather}`;
  });
  if (slices > 1) writer.share(`parts: array<vec4f, ${perSlice * own * vectors}>`);
  // A thread's second half of rows and columns is half a tile away: neighbours read neighbouring vectors.
  const half = (index: string, size: number) => (own === 4 ? index : `(${index} / 4u) * ${size / 2}u + ${index} % 4u`);
  const isRagged = M % rows !== 0 || N % columns !== 0;
  const store = `${finish}(batch, m, n, ${products.map((_, p) => `all${p}[row * ${vectors}u + column / 4u][column % 4u]`).join(', ')});`;
  const stores = `for (var row = 0u; row < ${own}u; row++) { let m = top + y * 4u + ${half('row', rows)};
    for (var column = 0u; column < ${own}u; column++) { let n = first + x * 4u + ${half('column', columns)};
      ${isRagged ? `if (m < ${M}u && n < ${N}u) { ${store} }` : store} } }`;
  const body = `let thread = local.x; let slice = thread / ${perSlice}u; let cell = thread % ${perSlice}u;
  let x = cell % ${across}u; let y = cell / ${across}u;
  let batch = tile / ${downTiles * acrossTiles}u; let place = tile % ${downTiles * acrossTiles}u;
  let top = (place % ${downTiles}u) * ${rows}u; let first = (place / ${downTiles}u) * ${columns}u;
  ${products.map((_, p) => eachSum(p, (name) => `var ${name} = vec4f();`)).join(' ')}
  ${parts.join('\n  ')}
  ${slices === 1 ? '' : 'if (slice != 0u) { return; }'}
  ${stores}`;
  return writer.perTile(downTiles * acrossTiles * sizeOf(batch), threads, body);
}
