/** @file WGSL formulas of element-wise operations and reductions, by op. */

/** Functions of `x`, by op. Integers use the entry if it fits them. */
export const unaries: Readonly<Record<string, string>> = {
  Abs: 'abs(x)',
  Acos: 'acos(x)',
  Acosh: 'acosh(x)',
  Asin: 'asin(x)',
  Asinh: 'asinh(x)',
  Atan: 'atan(x)',
  Atanh: 'atanh(x)',
  Ceil: 'ceil(x)',
  Cos: 'wave(x, 1)',
  Cosh: 'cosh(x)',
  Elu: 'select(exp(x) - 1f, x, x > 0f)',
  Exp: 'safeExp(x)',
  Expm1: 'select(exp(x) - 1f, x + 0.5f * x * x, abs(x) < 1e-4f)',
  Floor: 'floor(x)',
  Log: 'safeLog(x)',
  Log1p: 'select(safeLog(1f + x), x - 0.5f * x * x, abs(x) < 1e-4f)',
  Neg: '-x',
  Reciprocal: '1f / x',
  Relu6: 'clamp(x, 0, 6)',
  Rint: 'round(x)',
  Rsqrt: 'inverseSqrt(x)',
  Sigmoid: '1f / (1f + exp(-x))',
  Sign: 'sign(x)',
  Sin: 'wave(x, 0)',
  Sinh: 'sinh(x)',
  Softplus: 'select(log(1f + exp(x)), x, x > 20f)',
  Sqrt: 'sqrt(x)',
  Square: 'x * x',
  Tan: 'wave(x, 0) / wave(x, 1)',
  Tanh: 'tanh(clamp(x, -20f, 20f))',
};

/** Tests of float32 by its bits: a shader may assume that there is neither NaN nor infinity. */
export const tests: Readonly<Record<string, string>> = {
  IsNan: '(bits & 0x7fffffffu) > 0x7f800000u',
  IsInf: '(bits & 0x7fffffffu) == 0x7f800000u',
  IsFinite: '(bits & 0x7f800000u) != 0x7f800000u',
};

export const binaries: Readonly<Record<string, string>> = {
  AddV2: 'a + b',
  Sub: 'a - b',
  Mul: 'a * b',
  RealDiv: 'a / b',
  Maximum: 'max(a, b)',
  Minimum: 'min(a, b)',
  SquaredDifference: '(a - b) * (a - b)',
  Atan2: 'atan2(a, b)',
};

export const integerBinaries: Readonly<Record<string, string>> = {
  FloorDiv: 'a / b - select(0, 1, (a % b != 0) && ((a < 0) != (b < 0)))',
  FloorMod: 'a % b + select(0, b, (a % b != 0) && ((a < 0) != (b < 0)))',
};

export const floatBinaries: Readonly<Record<string, string>> = {
  FloorDiv: 'floor(a / b)',
  FloorMod: 'a - b * floor(a / b)',
  // pow of WGSL needs a positive base.
  Pow: 'select(select(pow(abs(a), b), -pow(abs(a), b), a < 0f && abs(b) % 2f == 1f), 1f, b == 0f)',
};

export const comparisons: Readonly<Record<string, string>> = {
  Equal: 'a == b',
  NotEqual: 'a != b',
  Greater: 'a > b',
  GreaterEqual: 'a >= b',
  Less: 'a < b',
  LessEqual: 'a <= b',
  LogicalAnd: 'a != 0 && b != 0',
  LogicalOr: 'a != 0 || b != 0',
};

/** Reductions: the start, and the next value from `sum` and `x`. */
export const reductions: Readonly<Record<string, { start: number; next: string }>> = {
  Sum: { start: 0, next: 'sum + x' },
  Mean: { start: 0, next: 'sum + x' },
  Prod: { start: 1, next: 'sum * x' },
  Max: { start: Number.NEGATIVE_INFINITY, next: 'max(sum, x)' },
  Min: { start: Number.POSITIVE_INFINITY, next: 'min(sum, x)' },
  All: { start: 1, next: 'sum & x' },
  Any: { start: 0, next: 'sum | x' },
};
