/** @file What every kernel begins with: its buffers and operands, conversions of 2-byte formats, and functions that drivers compute too roughly. */
import { maxSlots } from './kernel.js';

/** The declarations of a kernel with `buffers` buffers of its own. */
export function preamble(buffers: number): string {
  const data = Array.from(
    { length: buffers },
    (_, index) => `@group(0) @binding(${3 + index}) var<storage, read_write> data${index}: array<u32>;`,
  );
  return `
@group(0) @binding(0) var<storage, read> inputs: array<u32>;
@group(0) @binding(1) var<storage, read> constants: array<u32>;
@group(0) @binding(2) var<storage, read_write> flags: array<atomic<u32>>;
${data.join('\n')}
struct Operands { o: array<vec4u, ${maxSlots / 4}> }
@group(1) @binding(0) var<uniform> at: Operands;
var<private> runtime: u32 = 0u;
// The element number i of bfloat16 pairs, and the pair of two values, each rounded to the nearest bfloat16, ties to even.
fn ofPair(word: u32, i: u32) -> f32 { return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (i & 1u) == 1u)); }
fn narrowed(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let nearest = (bits + 0x7fffu + ((bits >> 16u) & 1u)) & 0xffff0000u;
  return bitcast<f32>(select(nearest, (bits | 0x400000u) & 0xffff0000u, (bits & 0x7fffffffu) > 0x7f800000u));
}
fn asPair(x: f32, y: f32) -> u32 { return (bitcast<u32>(narrowed(x)) >> 16u) | bitcast<u32>(narrowed(y)); }
// The same for float16, by integer arithmetic: unpack2x16float and pack2x16float may flush subnormal numbers to zero.
fn ofHalf(half: u32) -> f32 {
  let magnitude = half & 0x7fffu;
  let wide = select((magnitude << 13u) + 0x38000000u, (magnitude << 13u) | 0x7f800000u, magnitude >= 0x7c00u);
  let small = bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8f);
  return bitcast<f32>(((half & 0x8000u) << 16u) | select(wide, small, magnitude < 0x400u));
}
fn ofHalves(word: u32, i: u32) -> f32 { return ofHalf(select(word & 0xffffu, word >> 16u, (i & 1u) == 1u)); }
fn toHalf(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let magnitude = bits & 0x7fffffffu;
  let rebased = magnitude - 0x38000000u;
  let normal = select((rebased + 0xfffu + ((rebased >> 13u) & 1u)) >> 13u, 0x7c00u, magnitude >= 0x477ff000u);
  // A subnormal number is the significand, with its leading one, shifted down to units of 2^-24.
  let shift = clamp(126u - min(magnitude >> 23u, 112u), 14u, 26u);
  let significand = (magnitude & 0x7fffffu) | 0x800000u;
  let small = (significand + (1u << (shift - 1u)) - 1u + ((significand >> shift) & 1u)) >> shift;
  let finite = select(normal, small, magnitude < 0x38800000u);
  return ((bits >> 16u) & 0x8000u) | select(finite, 0x7e00u, magnitude > 0x7f800000u);
}
fn asHalves(x: f32, y: f32) -> u32 { return toHalf(x) | (toHalf(y) << 16u); }
fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
// Of NaN, zero and negative numbers, a driver's functions may give anything.
fn safeLog(x: f32) -> f32 {
  if (isNan(x) || x > 0f) { return select(log(x), x, isNan(x)); }
  return bitcast<f32>(runtime | select(0x7fc00000u, 0xff800000u, x == 0f));
}
// A driver's sine may be off by 2^-11; this one is Cephes's (sinf.c): x less the nearest multiple of pi / 2, then a polynomial.
fn wave(x: f32, quarters: i32) -> f32 {
  let n = round(x * 0.63661977f);
  let r = ((x - n * 1.5703125f) - n * 4.837512969970703125e-4f) - n * 7.549789954891882e-8f;
  let z = r * r;
  let quadrant = (i32(n) + quarters) & 3;
  let sine = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
  let cosine = ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1f;
  return select(1f, -1f, quadrant >= 2) * select(sine, cosine, (quadrant & 1) == 1);
}
fn safeExp(x: f32) -> f32 { return select(exp(x), x, isNan(x)); }
`;
}
