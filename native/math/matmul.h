/**
 * @file Products of large matrices, y = a @ b^T, in blocks that stay in the caches (Goto and van de Geijn, "Anatomy of
 * high-performance matrix multiplication", 2008). The factor in the vector's lanes is rearranged once; the other is read
 * in groups of rows. A sum runs over its terms in order, in pieces of `termsTogether`, so an element of the result does
 * not depend on the sizes of the other dimensions, on the number of threads or on which factor is in the lanes.
 */
#pragma once
#include "../kernels.h"
#include "linear.h"
#include "vector.h"

/** A tile of results that is summed in registers: `tileRows` rows, `tileVectors` vectors. */
#if LANES == 16 || defined(__aarch64__)
const int tileRows = 12, tileVectors = 2;
#else
const int tileRows = 6, tileVectors = 2;
#endif
const int64_t tileWidth = tileVectors * lanes;

/** Terms of a sum that are added before the sum goes back to memory. */
const int64_t termsTogether = 384;

/** Rows whose terms one thread keeps in the second-level cache. */
const int64_t rowsPerBlock = 16 * tileRows;

/** `count` elements of a factor, each `step` after the one before, as floats. */
static inline void readFactor(const Factor &f, int64_t offset, int64_t step, int64_t count, float *to) {
  if (f.narrow) {
    const uint16_t *from = static_cast<const uint16_t *>(f.data) + offset;
    for (int64_t i = 0; i < count; i++) {
      const uint32_t bits = (uint32_t)from[i * step] << 16;
      memcpy(to + i, &bits, sizeof bits);
    }
    return;
  }
  const float *from = static_cast<const float *>(f.data) + offset;
  for (int64_t i = 0; i < count; i++) to[i] = from[i * step];
  if (f.round) {
    for (int64_t i = 0; i < count; i++) to[i] = roundToNarrow(to[i]);
  }
}

/**
 * Terms `begin` to `end` of `rows` rows from `first` on as `[end - begin, width]`, filled up with zeros. Reads along the
 * direction in which the factor lies.
 */
static void packFactor(const Factor &f, int64_t first, int64_t rows, int64_t width, int64_t begin, int64_t end,
                       float *to) {
  if (f.row == 1) {
    for (int64_t k = begin; k < end; k++, to += width) {
      readFactor(f, first + k * f.column, 1, rows, to);
      for (int64_t i = rows; i < width; i++) to[i] = 0.0f;
    }
    return;
  }
  const int64_t together = 16;
  float part[together];
  for (int64_t i = 0; i < width; i++) {
    for (int64_t k = begin; k < end; k += together) {
      const int64_t count = end - k < together ? end - k : together;
      if (i < rows) readFactor(f, (first + i) * f.row + k * f.column, f.column, count, part);
      else memset(part, 0, sizeof part);
      for (int64_t j = 0; j < count; j++) to[(k - begin + j) * width + i] = part[j];
    }
  }
}

/** The sums of one tile: `w[i * wRow + k * wColumn]` times `x[k * tileWidth + ...]`, over `terms` terms. */
static inline __attribute__((always_inline)) void sumTile(const float *w, int64_t wRow, int64_t wColumn, const float *x,
                                                          int64_t terms, Floats (&sums)[tileRows][tileVectors]) {
  Floats local[tileRows][tileVectors] = {};
  for (int64_t k = 0; k < terms; k++) {
    Floats columns[tileVectors];
#pragma GCC unroll 2
    for (int j = 0; j < tileVectors; j++) columns[j] = load(x + j * lanes);
#pragma GCC unroll 12
    for (int i = 0; i < tileRows; i++) {
      const Floats factor = splat(w[i * wRow]);
#pragma GCC unroll 2
      for (int j = 0; j < tileVectors; j++) local[i][j] += factor * columns[j];
    }
    w += wColumn;
    x += tileWidth;
  }
  memcpy(sums, local, sizeof local);
}

/** Panels of the factor in the lanes, `matMulPanel` floats each. */
static int64_t matMulPanels(const MatMul &m) { return (m.lanes.rows + tileWidth - 1) / tileWidth; }
static int64_t matMulPanel(const MatMul &m) { return m.K * tileWidth; }

/** Rearranges panels `begin` to `end` from panel `m.firstPanel` on into `m.panels`. */
static void matMulArrange(const MatMul &m, int64_t begin, int64_t end) {
  for (int64_t panel = begin; panel < end; panel++) {
    const int64_t first = (m.firstPanel + panel) * tileWidth, left = m.lanes.rows - first;
    packFactor(m.lanes, first, left < tileWidth ? left : tileWidth, tileWidth, 0, m.K, m.panels + panel * matMulPanel(m));
  }
}

/** Writes the part of a tile that the result has; `first` says that these are the first terms of the sums. */
static inline void writeTile(const MatMul &m, int64_t row, int64_t column, int64_t rows, int64_t columns, bool first,
                             const Floats (&sums)[tileRows][tileVectors]) {
  if (m.yLane == 1 && columns == tileWidth) {
    for (int64_t i = 0; i < rows; i++) {
      float *y = m.y + (row + i) * m.yRow + column;
      for (int j = 0; j < tileVectors; j++) {
        store(y + j * lanes, first ? sums[i][j] : load(y + j * lanes) + sums[i][j]);
      }
    }
    return;
  }
  float values[tileRows][tileWidth];
  memcpy(values, sums, sizeof values);
  for (int64_t j = 0; j < columns; j++) {
    float *y = m.y + row * m.yRow + (column + j) * m.yLane;
    for (int64_t i = 0; i < rows; i++) y[i * m.yRow] = first ? values[i][j] : y[i * m.yRow] + values[i][j];
  }
}

static int64_t matMulScratch(const MatMul &) { return rowsPerBlock * termsTogether; }

/** For blocks `begin` to `end` of `rowsPerBlock` rows, and the panels that are arranged. */
static void matMul(const MatMul &m, int64_t begin, int64_t end, float *scratch) {
  const int64_t last = end * rowsPerBlock < m.rows.rows ? end * rowsPerBlock : m.rows.rows;
  const bool direct = m.rows.column == 1 && !m.rows.narrow && !m.rows.round && m.panelCount * tileWidth < 512;
  for (int64_t block = begin * rowsPerBlock; block < last; block += rowsPerBlock) {
    const int64_t blockEnd = block + rowsPerBlock < last ? block + rowsPerBlock : last;
    for (int64_t from = 0; from < m.K; from += termsTogether) {
      const int64_t to = from + termsTogether < m.K ? from + termsTogether : m.K, terms = to - from;
      const int64_t whole = direct ? (blockEnd - block) / tileRows * tileRows : 0;
      for (int64_t row = block + whole; row < blockEnd; row += tileRows) {
        const int64_t rows = blockEnd - row < tileRows ? blockEnd - row : tileRows;
        packFactor(m.rows, row, rows, tileRows, from, to, scratch + (row - block) * termsTogether);
      }
      const auto tile = [&](int64_t row, int64_t panel) {
        const int64_t rows = blockEnd - row < tileRows ? blockEnd - row : tileRows;
        const int64_t column = (m.firstPanel + panel) * tileWidth, left = m.lanes.rows - column;
        const float *x = m.panels + panel * matMulPanel(m) + from * tileWidth;
        Floats sums[tileRows][tileVectors];
        if (row - block < whole) {
          const float *w = static_cast<const float *>(m.rows.data) + row * m.rows.row + from;
          sumTile(w, m.rows.row, 1, x, terms, sums);
        } else {
          sumTile(scratch + (row - block) * termsTogether, 1, tileRows, x, terms, sums);
        }
        writeTile(m, row, column, rows, left < tileWidth ? left : tileWidth, from == 0, sums);
      };
      if (direct) {
        // Rows come from memory once and stay in the first-level cache while all panels pass by.
        for (int64_t row = block; row < blockEnd; row += tileRows) {
          for (int64_t panel = 0; panel < m.panelCount; panel++) tile(row, panel);
        }
      } else {
        for (int64_t panel = 0; panel < m.panelCount; panel++) {
          for (int64_t row = block; row < blockEnd; row += tileRows) tile(row, panel);
        }
      }
    }
  }
}
