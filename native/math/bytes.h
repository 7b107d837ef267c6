/**
 * @file Matrices as signed bytes. A row is its scale, a float, followed by its numbers in units of the scale. The
 * number of largest magnitude becomes 127 or -127, so that the error of each number is at most 1/254 of that magnitude.
 */
#pragma once
#include "../kernels.h"
#include "vector.h"

const float largestByte = 127.0f;

/** `lanes` bytes as floats. */
static inline Floats readBytes(const int8_t *from) {
#if LANES == 16
  return (Floats)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
#elif defined(__AVX2__)
  return (Floats)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)));
#else
  Floats result;
  for (int i = 0; i < lanes; i++) result[i] = from[i];
  return result;
#endif
}

/** The first `count` bytes, 0 for the others. */
static inline Floats readBytes(const int8_t *from, int64_t count) {
  if (count >= lanes) return readBytes(from);
  int8_t padded[LANES] = {};
  memcpy(padded, from, count);
  return readBytes(padded);
}

/** The scale of a row whose numbers start at `row`. */
static inline float scaleOf(const int8_t *row) {
  float scale;
  memcpy(&scale, row - scaleBytes, sizeof scale);
  return scale;
}

/** Numbers `begin` to `end` of the row whose bytes start at `row`. */
static inline void widenBytes(const int8_t *row, int64_t begin, int64_t end, float *to) {
  const float scale = scaleOf(row);
  for (int64_t d = begin; d < end; d += lanes) {
    storePart(to + d - begin, readBytes(row + d, end - d) * scale, end - d);
  }
}

/** For rows `begin` to `end`. The scale of a row with NaN or an infinity is NaN. */
static void quantize(const Quantize &q, int64_t begin, int64_t end) {
  // Adding it rounds to an integer, which is then in the low bits.
  const float magic = 12582912.0f;
  for (int64_t r = begin; r < end; r++) {
    const float *x = q.x + r * q.D;
    Floats most = splat(0.0f), defects = splat(0.0f);
    for (int64_t d = 0; d < q.D; d += lanes) {
      const Floats values = loadPart(x + d, q.D - d, 0.0f);
      most = max(most, max(values, -values));
      defects += values - values;
    }
    const float top = largest(most), scale = top / largestByte + sum(defects);
    // A row of numbers as small as this counts as 0: the inverse of its scale could overflow.
    const float inverse = top > 1e-30f ? largestByte / top : 0.0f;
    char *y = q.y + r * (scaleBytes + q.D);
    memcpy(y, &scale, sizeof scale);
    y += scaleBytes;
    for (int64_t d = 0; d < q.D; d += lanes) {
      const int64_t count = q.D - d < lanes ? q.D - d : lanes;
      const Floats shifted = loadPart(x + d, q.D - d, 0.0f) * inverse + magic;
      int32_t bits[LANES];
      memcpy(bits, &shifted, sizeof bits);
      for (int64_t i = 0; i < count; i++) y[d + i] = (char)(bits[i] & 0xff);
    }
  }
}

/** For rows `begin` to `end`. */
static void dequantize(const Dequantize &q, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; r++) {
    const char *x = q.x + r * (scaleBytes + q.D) + scaleBytes;
    widenBytes(reinterpret_cast<const int8_t *>(x), 0, q.D, q.y + r * q.D);
  }
}
