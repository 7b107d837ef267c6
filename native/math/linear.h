/**
 * @file Few rows times a large matrix, y = x @ w^T: the matrix is read once, as it lies, since its way through memory is
 * what takes the time. A vector's lanes are terms of a sum, so a result does not depend on the rows beside it.
 */
#pragma once
#include "../kernels.h"
#include "vector.h"

/** Results that are summed together, of four rows at a time: as many as there are registers for. */
const int64_t linearUnit = 4;

template <int Rows, int Outs> static inline void dots(const Linear &l, int64_t r, int64_t e) {
  const float *x = l.x + r * l.D, *w = l.w + e * l.D;
  Floats sums[Rows][Outs] = {};
  for (int64_t d = 0; d < l.D; d += lanes) {
    Floats columns[Outs];
    for (int j = 0; j < Outs; j++) {
      const float *at = w + j * l.D + d;
      columns[j] = loadPart(at, l.D - d, 0.0f);
      __builtin_prefetch(at + Outs * l.D);
    }
    for (int i = 0; i < Rows; i++) {
      const Floats row = loadPart(x + i * l.D + d, l.D - d, 0.0f);
      for (int j = 0; j < Outs; j++) sums[i][j] += row * columns[j];
    }
  }
  for (int i = 0; i < Rows; i++) {
    for (int j = 0; j < Outs; j++) l.y[(r + i) * l.E + e + j] = sum(sums[i][j]);
  }
}

template <int Outs> static inline void dotsOfRows(const Linear &l, int64_t e) {
  int64_t r = 0;
  for (; r + 4 <= l.R; r += 4) dots<4, Outs>(l, r, e);
  for (; r < l.R; r++) dots<1, Outs>(l, r, e);
}

/** For results `begin` to `end` in multiples of linearUnit. */
static void linear(const Linear &l, int64_t begin, int64_t end) {
  const int64_t last = end * linearUnit < l.E ? end * linearUnit : l.E;
  int64_t e = begin * linearUnit;
  for (; e + linearUnit <= last; e += linearUnit) dotsOfRows<linearUnit>(l, e);
  for (; e < last; e++) dotsOfRows<1>(l, e);
}
