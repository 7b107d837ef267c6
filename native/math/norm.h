/** @file RMSNorm over rows (Zhang and Sennrich, arXiv 1910.07467): y = x / sqrt(mean(x^2) + epsilon) * weight. */
#pragma once
#include "../kernels.h"
#include "vector.h"

static void rmsNorm(const RmsNorm &n, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const float *x = n.x + row * n.D;
    Floats squares = splat(0.0f);
    for (int64_t d = 0; d < n.D; d += lanes) {
      const Floats part = loadPart(x + d, n.D - d, 0.0f);
      squares += part * part;
    }
    const float inverse = 1.0f / __builtin_sqrtf(sum(squares) / n.D + n.epsilon);
    n.inverse[row] = inverse;
    for (int64_t d = 0; d < n.D; d += lanes) {
      const int64_t left = n.D - d;
      storePart(n.y + row * n.D + d, loadPart(x + d, left, 0.0f) * inverse * loadPart(n.weight + d, left, 0.0f), left);
    }
  }
}

/** dx, and in `dWeight` the sum of one chunk's rows: [chunks, D]. */
static void rmsNormGradient(const RmsNormGradient &n, int64_t begin, int64_t end) {
  for (int64_t chunk = begin; chunk < end; chunk++) {
    float *dWeight = n.dWeight + chunk * n.D;
    memset(dWeight, 0, n.D * sizeof(float));
    const int64_t last = (chunk + 1) * n.chunkRows < n.R ? (chunk + 1) * n.chunkRows : n.R;
    for (int64_t row = chunk * n.chunkRows; row < last; row++) {
      const float *x = n.x + row * n.D;
      const float *dy = n.dy + row * n.D;
      const float inverse = n.inverse[row];
      Floats along = splat(0.0f);
      for (int64_t d = 0; d < n.D; d += lanes) {
        const int64_t left = n.D - d;
        const Floats normal = loadPart(x + d, left, 0.0f) * inverse;
        const Floats slope = loadPart(dy + d, left, 0.0f);
        along += slope * loadPart(n.weight + d, left, 0.0f) * normal;
        storePart(dWeight + d, loadPart(dWeight + d, left, 0.0f) + slope * normal, left);
      }
      const float mean = sum(along) / n.D;
      for (int64_t d = 0; d < n.D; d += lanes) {
        const int64_t left = n.D - d;
        const Floats normal = loadPart(x + d, left, 0.0f) * inverse;
        const Floats dNormal = loadPart(dy + d, left, 0.0f) * loadPart(n.weight + d, left, 0.0f);
        storePart(n.dx + row * n.D + d, (dNormal - normal * mean) * inverse, left);
      }
    }
  }
}
