/**
 * @file Products of large matrices, y = a @ b^T, in blocks that stay in the caches (Goto and van de Geijn, "Anatomy of
 * high-performance matrix multiplication", 2008). The factor in the vector's lanes is rearranged once; the other is
 * read in groups of rows. A sum runs over its terms in order, in pieces of `termsTogether`, so an element of the result
 * does not depend on the sizes of the other dimensions, on the number of threads or on which factor is in the lanes.
 *
 * If the processor multiplies bfloat16 (AVX-512-BF16) and both factors are bfloat16 or rounded to it, terms form pairs
 * (pairs.h): a word of four bytes holds two terms instead of one, and one instruction adds both.
 */
#pragma once
#include "../kernels.h"
#include "bytes.h"
#include "linear.h"
#include "pairs.h"
#include "vector.h"

/** A tile of results that is summed in registers: `tileRows` rows, `tileVectors` vectors. */
#if LANES == 16 || defined(__aarch64__)
const int tileRows = 12, tileVectors = 2;
#else
const int tileRows = 6, tileVectors = 2;
#endif
const int64_t tileWidth = tileVectors * lanes;

/** Terms of a sum, or pairs of them, that are added before the sum goes back to memory. */
const int64_t termsTogether = 384;

/** Rows whose terms one thread keeps in the second-level cache. */
const int64_t rowsPerBlock = 16 * tileRows;

/** `count` elements of a factor, `step` apart, as floats. */
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
 * Terms `begin` to `end` of `rows` rows from `first` on as `[end - begin, width]`, padded with zeros. Reads along
 * the factor's contiguous direction.
 */
static void packFactor(const Factor &f, int64_t first, int64_t rows, int64_t width, int64_t begin, int64_t end,
                       float *to) {
  const int8_t *bytes = static_cast<const int8_t *>(f.data) + first * f.row;
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
      if (i < rows && f.bytes) widenBytes(bytes + i * f.row, k, k + count, part);
      else if (i < rows) readFactor(f, (first + i) * f.row + k * f.column, f.column, count, part);
      else memset(part, 0, sizeof part);
      for (int64_t j = 0; j < count; j++) to[(k - begin + j) * width + i] = part[j];
    }
  }
}

/** Terms stored as floats, one per word. */
struct Singles {
  static const int64_t terms = 1;
  static const bool narrow = false;
  /** Adds the term at `factor` times those in the lanes. */
  static inline Floats add(Floats sum, const char *factor, Floats columns) {
    float value;
    memcpy(&value, factor, sizeof value);
    return sum + splat(value) * columns;
  }
  /** `packFactor` for words `begin` to `end` of factors with K terms. */
  static void pack(const Factor &f, int64_t first, int64_t rows, int64_t width, int64_t begin, int64_t end, int64_t,
                   float *to) {
    packFactor(f, first, rows, width, begin, end, to);
  }
};

#if defined(__AVX512BF16__)
const bool multipliesPairs = true;
#else
const bool multipliesPairs = false;
typedef Singles Pairs;
#endif

const int64_t wordBytes = 4;

/** `sumTile` of the first `Vectors` vectors of the tile. */
template <class Terms, int Vectors>
static inline __attribute__((always_inline)) void sumVectors(const char *w, int64_t wRow, int64_t wColumn,
                                                             const float *x, int64_t words,
                                                             Floats (&sums)[tileRows][tileVectors]) {
  Floats local[tileRows][tileVectors] = {};
  for (int64_t k = 0; k < words; k++) {
    Floats columns[Vectors];
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; j++) columns[j] = load(x + j * lanes);
#pragma GCC unroll 12
    for (int i = 0; i < tileRows; i++) {
#pragma GCC unroll 2
      for (int j = 0; j < Vectors; j++) local[i][j] = Terms::add(local[i][j], w + i * wRow, columns[j]);
    }
    w += wColumn;
    x += tileWidth;
  }
  memcpy(sums, local, sizeof local);
}

/**
 * The sums of one tile over `words` words: those at `w + i * wRow + k * wColumn` times `x[k * tileWidth + ...]`. At the end
 * of the lanes, `columns` of a tile may fit in one vector.
 */
template <class Terms>
static inline __attribute__((always_inline)) void sumTile(const char *w, int64_t wRow, int64_t wColumn, const float *x,
                                                          int64_t words, int64_t columns,
                                                          Floats (&sums)[tileRows][tileVectors]) {
  if (columns > lanes) sumVectors<Terms, tileVectors>(w, wRow, wColumn, x, words, sums);
  else sumVectors<Terms, 1>(w, wRow, wColumn, x, words, sums);
}

static inline bool isNarrow(const Factor &f) { return f.narrow || f.round; }
static inline bool inPairs(const MatMul &m) { return multipliesPairs && isNarrow(m.rows) && isNarrow(m.lanes); }

/** Words of all terms of a row. */
static inline int64_t wordsOf(const MatMul &m) { return inPairs(m) ? (m.K + 1) / 2 : m.K; }

/** Panels of the factor in the lanes, `matMulPanel` words each. */
static int64_t matMulPanels(const MatMul &m) { return (m.lanes.rows + tileWidth - 1) / tileWidth; }
static int64_t matMulPanel(const MatMul &m) { return wordsOf(m) * tileWidth; }

template <class Terms> static void arrangePanels(const MatMul &m, int64_t begin, int64_t end) {
  const int64_t words = wordsOf(m);
  for (int64_t panel = begin; panel < end; panel++) {
    const int64_t first = (m.firstPanel + panel) * tileWidth, left = m.lanes.rows - first;
    const int64_t rows = left < tileWidth ? left : tileWidth;
    Terms::pack(m.lanes, first, rows, tileWidth, 0, words, m.K, m.panels + panel * words * tileWidth);
  }
}

/** Rearranges panels `begin` to `end` from panel `m.firstPanel` on into `m.panels`. */
static void matMulArrange(const MatMul &m, int64_t begin, int64_t end) {
  if (inPairs(m)) arrangePanels<Pairs>(m, begin, end);
  else arrangePanels<Singles>(m, begin, end);
}

/** Writes the part of a tile that is inside the result; `first`: these are the first terms of the sums. */
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

/** Whether rows are read in place: there are few panels, so rearranging the rows would take too long. */
template <class Terms> static bool readsDirectly(const MatMul &m) {
  if (m.rows.column != 1 || m.rows.bytes || m.rows.narrow != Terms::narrow || m.rows.round) return false;
  return m.K % Terms::terms == 0 && m.panelCount * tileWidth < 512;
}

/** Whether stored rows are widened tile by tile: there are few panels, so arranging them too would take too long. */
template <class Terms> static bool widensRows(const MatMul &m) {
  const bool stored = m.rows.bytes || (m.rows.narrow && m.rows.column == 1 && !Terms::narrow);
  return stored && m.panelCount * tileWidth < 512;
}

/** Terms `begin` to `end` of a tile of rows, `termsTogether` apart; zeros for rows that do not exist. */
static void widenRows(const MatMul &m, int64_t row, int64_t rows, int64_t begin, int64_t end, float *to) {
  for (int64_t i = 0; i < tileRows; i++, to += termsTogether) {
    const int64_t offset = (row + i) * m.rows.row;
    if (i >= rows) memset(to, 0, (end - begin) * sizeof(float));
    else if (m.rows.bytes) widenBytes(static_cast<const int8_t *>(m.rows.data) + offset, begin, end, to);
    else readFactor(m.rows, offset + begin, 1, end - begin, to);
  }
}

template <class Terms> static void multiplyBlocks(const MatMul &m, int64_t begin, int64_t end, float *scratch) {
  const int64_t last = end * rowsPerBlock < m.rows.rows ? end * rowsPerBlock : m.rows.rows;
  const int64_t all = wordsOf(m);
  const bool direct = readsDirectly<Terms>(m), widened = !direct && widensRows<Terms>(m);
  for (int64_t block = begin * rowsPerBlock; block < last; block += rowsPerBlock) {
    const int64_t blockEnd = block + rowsPerBlock < last ? block + rowsPerBlock : last;
    for (int64_t from = 0; from < all; from += termsTogether) {
      const int64_t to = from + termsTogether < all ? from + termsTogether : all, words = to - from;
      const int64_t whole = direct ? (blockEnd - block) / tileRows * tileRows : 0;
      for (int64_t row = block + whole; row < blockEnd && !widened; row += tileRows) {
        const int64_t rows = blockEnd - row < tileRows ? blockEnd - row : tileRows;
        Terms::pack(m.rows, row, rows, tileRows, from, to, m.K, scratch + (row - block) * termsTogether);
      }
      const auto tile = [&](int64_t row, int64_t panel) {
        const int64_t rows = blockEnd - row < tileRows ? blockEnd - row : tileRows;
        const int64_t column = (m.firstPanel + panel) * tileWidth, left = m.lanes.rows - column;
        const int64_t columns = left < tileWidth ? left : tileWidth;
        const float *x = m.panels + (panel * all + from) * tileWidth;
        Floats sums[tileRows][tileVectors];
        if (row - block < whole) {
          const int64_t step = wordBytes / Terms::terms;
          const char *w = static_cast<const char *>(m.rows.data) + row * m.rows.row * step + from * wordBytes;
          sumTile<Terms>(w, m.rows.row * step, wordBytes, x, words, columns, sums);
        } else if (widened) {
          const char *w = reinterpret_cast<const char *>(scratch);
          sumTile<Singles>(w, termsTogether * wordBytes, wordBytes, x, words, columns, sums);
        } else {
          const float *w = scratch + (row - block) * termsTogether;
          sumTile<Terms>(reinterpret_cast<const char *>(w), wordBytes, tileRows * wordBytes, x, words, columns, sums);
        }
        writeTile(m, row, column, rows, columns, from == 0, sums);
      };
      if (widened) {
        // Rows are widened once, into the first-level cache, for all panels.
        for (int64_t row = block; row < blockEnd; row += tileRows) {
          const int64_t rows = blockEnd - row < tileRows ? blockEnd - row : tileRows;
          widenRows(m, row, rows, from, to, scratch);
          for (int64_t panel = 0; panel < m.panelCount; panel++) tile(row, panel);
        }
      } else if (direct) {
        // Rows are read from memory once and stay in the first-level cache while all panels are read.
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

/** For blocks `begin` to `end` of `rowsPerBlock` rows, and the panels that are arranged. */
static void matMul(const MatMul &m, int64_t begin, int64_t end, float *scratch) {
  if (inPairs(m)) multiplyBlocks<Pairs>(m, begin, end, scratch);
  else multiplyBlocks<Singles>(m, begin, end, scratch);
}
