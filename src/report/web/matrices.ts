/** @file Matrices in the memory of kernel.wasm, and their products. Copied into the page's folder, so it imports nothing. */

// The part of a browser's and of Node's own types that is used.
declare const WebAssembly: {
  Memory: new (pages: { initial: number }) => { readonly buffer: ArrayBuffer };
  Module: new (code: ArrayBuffer) => object;
  Instance: new (module: object, imports: object) => { readonly exports: { readonly multiply: Multiply } };
};

/** All are byte addresses except `rows`, `columns` and `tokens`. */
type Multiply = (matrix: number, rows: number, columns: number, x: number, tokens: number, out: number) => void;

export interface Matrix {
  /** `x` `[tokens, columns]` times the transposed matrix. @returns a copy, `[tokens, rows]`. */
  times(x: Float32Array): Float32Array;
  /** A copy of a row. */
  row(index: number): Float32Array;
}

export interface MatrixSpec {
  readonly rows: number;
  readonly columns: number;
  /** Most tokens of one product. */
  readonly tokens: number;
  /** `[rows, columns]`, read once. */
  readonly read: () => Float32Array;
}

const align = 16;
const padded = (columns: number) => Math.ceil(columns / align) * align;
const pageBytes = 65_536;

/** @param kernel the code of `kernel.wasm`. @returns the matrices, in order. */
export function placeMatrices(kernel: ArrayBuffer, specs: readonly MatrixSpec[]): Matrix[] {
  const most = (size: (spec: MatrixSpec) => number) => Math.max(...specs.map(size));
  // In float32 numbers: the factor, the product, the matrices, whose rows are padded with zeros.
  const product = most(({ columns, tokens }) => padded(columns) * tokens);
  let next = product + padded(most(({ rows, tokens }) => rows * tokens));
  const total = specs.reduce((sum, { rows, columns }) => sum + rows * padded(columns), next);
  const memory = new WebAssembly.Memory({ initial: Math.ceil((total * 4) / pageBytes) });
  const numbers = new Float32Array(memory.buffer);
  const { multiply } = new WebAssembly.Instance(new WebAssembly.Module(kernel), { page: { memory } }).exports;
  return specs.map(({ rows, columns, read }) => {
    const [start, width] = [next, padded(columns)];
    next += rows * width;
    const copyRows = (from: Float32Array, count: number, to: number) => {
      if (width === columns) numbers.set(from, to);
      else
        for (let i = 0; i < count; i += 1) numbers.set(from.subarray(i * columns, (i + 1) * columns), to + i * width);
    };
    copyRows(read(), rows, start);
    return {
      times(x) {
        const tokens = x.length / columns;
        // What a product before this one left behind the columns counts nothing: the matrix has zeros there, and `x` is finite.
        copyRows(x, tokens, 0);
        multiply(start * 4, rows, width, 0, tokens, product * 4);
        return numbers.slice(product, product + tokens * rows);
      },
      row: (index) => numbers.slice(start + index * width, start + index * width + columns),
    };
  });
}
