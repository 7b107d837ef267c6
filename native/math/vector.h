/**
 * @file Vectors of floats in the compiler's own vector types, as wide as a register of the instruction set compiled
 * for. The end of a loop uses the same operations on a padded vector, so that an element's result never depends
 * on its place in the row.
 */
#pragma once
#include <stdint.h>
#include <string.h>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));

const int64_t lanes = LANES;

static inline int64_t roundUp(int64_t count) { return (count + lanes - 1) / lanes * lanes; }

/** Subtracts 0: value + 0 differs from value for -0, so the compiler could not drop the addition. */
static inline Floats splat(float value) { return value - Floats{}; }

static inline Floats load(const float *from) {
  Floats result;
  memcpy(&result, from, sizeof result);
  return result;
}

static inline void store(float *to, Floats values) { memcpy(to, &values, sizeof values); }

/** The first `count` values, `fill` for the others. */
static inline Floats loadPart(const float *from, int64_t count, float fill) {
  if (count >= lanes) return load(from);
#if LANES == 16
  return (Floats)_mm512_mask_loadu_ps((__m512)splat(fill), (__mmask16)((1u << count) - 1), from);
#else
  Floats result = splat(fill);
  memcpy(&result, from, count * sizeof(float));
  return result;
#endif
}

static inline void storePart(float *to, Floats values, int64_t count) {
  if (count >= lanes) return store(to, values);
#if LANES == 16
  _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), (__m512)values);
#else
  memcpy(to, &values, count * sizeof(float));
#endif
}

typedef float Four __attribute__((vector_size(16)));

static inline float sum(Four four) { return (four[0] + four[2]) + (four[1] + four[3]); }

#if LANES > 4
typedef float Eight __attribute__((vector_size(32)));

static inline float sum(Eight eight) {
  Four halves[2];
  memcpy(halves, &eight, sizeof halves);
  return sum(halves[0] + halves[1]);
}
#endif

#if LANES > 8
static inline float sum(Floats sixteen) {
  Eight halves[2];
  memcpy(halves, &sixteen, sizeof halves);
  return sum(halves[0] + halves[1]);
}
#endif

static inline float largest(Floats values) {
  float result = values[0];
  for (int i = 1; i < lanes; i++) result = values[i] > result ? values[i] : result;
  return result;
}

static inline Floats max(Floats a, Floats b) { return a > b ? a : b; }

/**
 * e^x by Cephes' expf, within 2 units in the last place. Exactly 0 below -87.3 (the smallest normal number), the value
 * at 88 above 88, NaN for NaN.
 */
static inline Floats exp(Floats x) {
  const float magic = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer, which is then in the low bits
  const Floats limited = x > 88.0f ? splat(88.0f) : x;
  const Floats shifted = limited * 1.44269504088896341f + magic;
  const Floats n = shifted - magic;
  const Floats r = limited - n * 0.693359375f + n * 2.12194440e-4f;
  Floats p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  Ints bits, magicBits;
  const Floats magics = splat(magic);
  memcpy(&bits, &shifted, sizeof bits);
  memcpy(&magicBits, &magics, sizeof magicBits);
  const Ints exponents = (bits - magicBits + 127) << 23;
  Floats power;
  memcpy(&power, &exponents, sizeof power);
  return x < -87.3f ? splat(0.0f) : p * power;
}

static inline Floats sigmoid(Floats x) { return 1.0f / (1.0f + exp(-x)); }
