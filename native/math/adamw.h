/** @file AdamW in one pass over memory, and sums of squares. */
#pragma once
#include "../kernels.h"
#include "vector.h"

/** For elements `begin` to `end`; `begin` is a multiple of `lanes`. */
static void adamW(const AdamW &a, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i += lanes) {
    const int64_t left = end - i;
    const Floats gradient = loadPart(a.gradient + i, left, 0.0f) * a.scale;
    Floats m = loadPart(a.m + i, left, 0.0f);
    Floats v = loadPart(a.v + i, left, 0.0f);
    Floats parameter = loadPart(a.parameter + i, left, 0.0f);
    m += (gradient - m) * (1.0f - a.beta1);
    v += (gradient * gradient - v) * (1.0f - a.beta2);
    parameter -= parameter * a.decay;
    Floats root;
    for (int lane = 0; lane < lanes; lane++) root[lane] = __builtin_sqrtf(v[lane]);
    parameter -= m * a.rate / (root + a.epsilon);
    storePart(a.m + i, m, left);
    storePart(a.v + i, v, left);
    storePart(a.parameter + i, parameter, left);
  }
}

/** One sum per chunk of `chunkSize` elements. */
static void sumOfSquares(const SumOfSquares &s, int64_t begin, int64_t end) {
  for (int64_t chunk = begin; chunk < end; chunk++) {
    const int64_t last = (chunk + 1) * s.chunkSize < s.size ? (chunk + 1) * s.chunkSize : s.size;
    Floats sums[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
    int64_t i = chunk * s.chunkSize;
    for (; i + 4 * lanes <= last; i += 4 * lanes) {
      for (int j = 0; j < 4; j++) {
        const Floats part = load(s.x + i + j * lanes);
        sums[j] += part * part;
      }
    }
    for (; i < last; i += lanes) {
      const Floats part = loadPart(s.x + i, last - i, 0.0f);
      sums[0] += part * part;
    }
    s.sums[chunk] = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
}
