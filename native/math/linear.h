/**
 * @file Few rows times a large matrix, y = x @ w^T: the matrix is read once, without conversion, since reading
 * memory takes most of the time. A vector's lanes are terms of a sum, so a result does not depend on other rows.
 */
#pragma once
#include "../kernels.h"
#include "bytes.h"
#include "vector.h"

/** Rows and results that are summed together: as many sums as registers allow. */
const int rowsTogether = 4, resultsTogether = LANES == 16 ? 6 : LANES == 8 ? 3 : 2;

/** Columns of these results that the first-level cache holds while all rows are read. */
const int64_t columnsTogether = 1024;

/** Largest number of rows: their sums are kept on the stack. */
const int64_t mostRows = 16;

/** Rounds to the nearest bfloat16, ties to even; NaN stays NaN. */
static inline float roundToNarrow(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  float rounded;
  memcpy(&rounded, &bits, sizeof rounded);
  return value == value ? rounded : value;
}

/** Reads vectors from a float32 matrix. */
struct Wide {
  typedef float Element;
  static const int vectors = 1;
  /** Elements of a row before its numbers. */
  static const int64_t header = 0;
  static inline float scale(const float *) { return 1.0f; }
  static inline Floats read(const float *from, int64_t count, int) { return loadPart(from, count, 0.0f); }
  static inline float round(float value) { return value; }
};

/** Reads vectors from a bfloat16 matrix. The results are those of the widened matrix, to the last bit. */
struct Stored {
  typedef uint16_t Element;
  static const int vectors = 1;
  static const int64_t header = 0;
  static inline float scale(const uint16_t *) { return 1.0f; }
  static inline Floats read(const uint16_t *from, int64_t count, int) {
    Halves halves{};
    if (count >= lanes) memcpy(&halves, from, sizeof halves);
    else memcpy(&halves, from, count * sizeof(uint16_t));
    const Ints bits = __builtin_convertvector(halves, Ints) << 16;
    Floats result;
    memcpy(&result, &bits, sizeof result);
    return result;
  }
  static inline float round(float value) { return value; }
};

/**
 * Reads vectors from a bfloat16 matrix, for rows that are rounded too: two at a time, of the even and of the odd columns.
 */
struct Narrow {
  typedef uint16_t Element;
  static const int vectors = 2;
  static const int64_t header = 0;
  static inline float scale(const uint16_t *) { return 1.0f; }
  static inline Floats read(const uint16_t *from, int64_t count, int odd) {
    Ints pairs{};
    if (count >= 2 * lanes) memcpy(&pairs, from, sizeof pairs);
    else memcpy(&pairs, from, count * sizeof(uint16_t));
    // A bfloat16 is the upper half of a float; the first of a pair is the lower half of its 32 bits.
    const Ints bits = odd ? pairs & -65536 : pairs << 16;
    Floats result;
    memcpy(&result, &bits, sizeof result);
    return result;
  }
  static inline float round(float value) { return roundToNarrow(value); }
};

/** Reads vectors from a matrix of bytes, whose scales are applied to the results. */
struct Bytes {
  typedef int8_t Element;
  static const int vectors = 1;
  static const int64_t header = scaleBytes;
  static inline float scale(const int8_t *row) { return scaleOf(row); }
  static inline Floats read(const int8_t *from, int64_t count, int) { return readBytes(from, count); }
  static inline float round(float value) { return value; }
};

/** The numbers of row `e` of the matrix. */
template <class Matrix> static inline const typename Matrix::Element *rowOf(const Linear &l, int64_t e) {
  return static_cast<const typename Matrix::Element *>(l.w) + e * (l.D + Matrix::header) + Matrix::header;
}

/** Floats of a row that {@link arrangeRows} has arranged. */
static int64_t linearWidth(const Linear &l) {
  const int64_t step = (l.narrow && l.round ? Narrow::vectors : Wide::vectors) * lanes;
  return (l.D + step - 1) / step * step;
}

/** The columns of one step, in the order of the matrix. */
template <class Matrix> static inline void arrangeStep(const float *x, float *to) {
  for (int v = 0; v < Matrix::vectors; v++) {
    for (int i = 0; i < LANES; i++) to[v * LANES + i] = Matrix::round(x[i * Matrix::vectors + v]);
  }
}

template <class Matrix> static void arrange(const Linear &l, const float *x, float *to) {
  const int64_t step = Matrix::vectors * lanes, whole = l.D / step * step, rest = l.D - whole;
  for (int64_t r = 0; r < l.R; r++, x += l.D, to += linearWidth(l)) {
    for (int64_t d = 0; d < whole; d += step) arrangeStep<Matrix>(x + d, to + d);
    if (rest == 0) continue;
    float last[Matrix::vectors * LANES] = {};
    memcpy(last, x + whole, rest * sizeof(float));
    arrangeStep<Matrix>(last, to + whole);
  }
}

/**
 * The rows x `[R, D]` in the order in which the matrix is read, padded with zeros: `[R, linearWidth]`. With `round`
 * they are rounded to bfloat16.
 */
static void arrangeRows(const Linear &l, const float *x, float *to) {
  if (l.narrow && l.round) arrange<Narrow>(l, x, to);
  else arrange<Wide>(l, x, to);
}

/** One step, with `count` columns of the matrix. The loops must be unrolled so that the sums stay in registers. */
template <class Matrix, int Rows, int Outs>
static inline __attribute__((always_inline)) void addStep(const float *x, int64_t width,
                                                          const typename Matrix::Element *w, int64_t step,
                                                          int64_t count, Floats (&sums)[Rows][Outs]) {
#pragma GCC unroll 2
  for (int v = 0; v < Matrix::vectors; v++) {
    Floats rows[Rows];
#pragma GCC unroll 8
    for (int i = 0; i < Rows; i++) rows[i] = load(x + i * width + v * lanes);
#pragma GCC unroll 8
    for (int j = 0; j < Outs; j++) {
      const Floats column = Matrix::read(w + j * step, count, v);
      if (v == 0) __builtin_prefetch(w + (Outs + j) * step);
#pragma GCC unroll 8
      for (int i = 0; i < Rows; i++) sums[i][j] += rows[i] * column;
    }
  }
}

/** Adds the products of columns `begin` to `end` to the sums of `Rows` rows and `Outs` results from `r` and `e` on. */
template <class Matrix, int Rows, int Outs>
static inline void addProducts(const Linear &l, int64_t r, int64_t e, int64_t begin, int64_t end, Floats *sums) {
  const int64_t width = linearWidth(l), step = Matrix::vectors * lanes, row = l.D + Matrix::header;
  const float *x = l.x + r * width;
  const typename Matrix::Element *w = rowOf<Matrix>(l, e);
  Floats local[Rows][Outs];
  memcpy(local, sums, sizeof local);
  int64_t d = begin;
  for (; d + step <= end; d += step) addStep<Matrix>(x + d, width, w + d, row, step, local);
  if (d < end) addStep<Matrix>(x + d, width, w + d, row, end - d, local);
  memcpy(sums, local, sizeof local);
}

template <class Matrix, int Outs> static inline void results(const Linear &l, int64_t e) {
  Floats sums[mostRows * Outs] = {};
  for (int64_t begin = 0; begin < l.D; begin += columnsTogether) {
    const int64_t end = begin + columnsTogether < l.D ? begin + columnsTogether : l.D;
    int64_t r = 0;
    for (; r + rowsTogether <= l.R; r += rowsTogether) {
      addProducts<Matrix, rowsTogether, Outs>(l, r, e, begin, end, sums + r * Outs);
    }
    if constexpr (Matrix::header > 0) {
      // Converting the bytes takes longer than multiplying by them once.
      for (; r + 2 <= l.R; r += 2) addProducts<Matrix, 2, Outs>(l, r, e, begin, end, sums + r * Outs);
    }
    for (; r < l.R; r++) addProducts<Matrix, 1, Outs>(l, r, e, begin, end, sums + r * Outs);
  }
  for (int j = 0; j < Outs; j++) {
    const float scale = Matrix::scale(rowOf<Matrix>(l, e + j));
    for (int64_t r = 0; r < l.R; r++) l.y[r * l.E + e + j] = sum(sums[r * Outs + j]) * scale;
  }
}

template <class Matrix> static void linearOf(const Linear &l, int64_t begin, int64_t end) {
  const int64_t last = end * resultsTogether < l.E ? end * resultsTogether : l.E;
  int64_t e = begin * resultsTogether;
  if constexpr (Matrix::header > 0) {
    // With few rows, bytes are read faster than a sum can take its next term, so more sums are computed at a time.
    const int together = 2 * resultsTogether;
    for (; l.R < rowsTogether && e + together <= last; e += together) results<Matrix, together>(l, e);
  }
  for (; e + resultsTogether <= last; e += resultsTogether) results<Matrix, resultsTogether>(l, e);
  for (; e < last; e++) results<Matrix, 1>(l, e);
}

/** For results `begin` to `end` in multiples of linearUnit. */
static void linear(const Linear &l, int64_t begin, int64_t end) {
  if (l.bytes) linearOf<Bytes>(l, begin, end);
  else if (l.narrow && l.round) linearOf<Narrow>(l, begin, end);
  else if (l.narrow) linearOf<Stored>(l, begin, end);
  else linearOf<Wide>(l, begin, end);
}
