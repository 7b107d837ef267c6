/**
 * @file Small matrix products whose second factor has the result's rows in the vector's lanes. Every sum runs
 * over its terms in order, so an element of the result does not depend on the sizes of the other dimensions.
 */
#pragma once
#include "vector.h"

/** y[e][l] (+)= sum over d of w[e][d] * x[d][l], for E x L results with D terms each; L is a multiple of `lanes`. */
struct Product {
  int64_t E, D, L;
  const float *w;
  /** Element (e, d) is w[e * wRow + d * wColumn]. */
  int64_t wRow, wColumn;
  const float *x;
  int64_t xRow;
  float *y;
  int64_t yRow;
  /** Initial values of the sums: one number per e, the content of y, or 0. */
  const float *bias;
  bool accumulate;
};

template <int Rows, int Vectors> static inline void tile(const Product &p, int64_t e, int64_t l) {
  Floats sums[Rows][Vectors];
  for (int i = 0; i < Rows; i++) {
    for (int j = 0; j < Vectors; j++) {
      sums[i][j] = p.accumulate ? load(p.y + (e + i) * p.yRow + l + j * lanes) : splat(p.bias ? p.bias[e + i] : 0.0f);
    }
  }
  const float *w = p.w + e * p.wRow;
  const float *x = p.x + l;
  for (int64_t d = 0; d < p.D; d++) {
    Floats columns[Vectors];
    for (int j = 0; j < Vectors; j++) columns[j] = load(x + j * lanes);
    for (int i = 0; i < Rows; i++) {
      const Floats factor = splat(w[i * p.wRow]);
      for (int j = 0; j < Vectors; j++) sums[i][j] += factor * columns[j];
    }
    w += p.wColumn;
    x += p.xRow;
  }
  for (int i = 0; i < Rows; i++) {
    for (int j = 0; j < Vectors; j++) store(p.y + (e + i) * p.yRow + l + j * lanes, sums[i][j]);
  }
}

template <int Rows, int Vectors> static inline void strip(const Product &p, int64_t l) {
  int64_t e = 0;
  for (; e + Rows <= p.E; e += Rows) tile<Rows, Vectors>(p, e, l);
  for (; e < p.E; e++) tile<1, Vectors>(p, e, l);
}

/** As many sums at a time as registers allow besides the factors: 16 or 8. */
static void multiply(const Product &p) {
  int64_t l = 0;
#if LANES == 16
  for (; l + 4 * lanes <= p.L; l += 4 * lanes) strip<4, 4>(p, l);
#endif
  for (; l + 2 * lanes <= p.L; l += 2 * lanes) strip<LANES == 16 ? 8 : 4, 2>(p, l);
  for (; l < p.L; l += lanes) strip<8, 1>(p, l);
}
