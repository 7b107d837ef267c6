/**
 * @file Grouped-query attention of whole sequences, and its gradient. A unit of work is one sequence and one key/value
 * head: its keys and values are arranged once for all query heads that read them, then queries follow in blocks of
 * rows. A block computes nothing beyond the last position that one of its rows may attend to. The gradient recomputes
 * the weights, so nothing of size T x S is ever stored.
 */
#pragma once
#include "../kernels.h"
#include "product.h"

/** Rows of queries at a time. */
const int64_t blockRows = 32;

/** Memory of one unit, within a scratch of `attentionScratch` floats. */
struct AttentionMemory {
  /** [C, S] with S rounded up, and [S, C] with C rounded up. */
  float *keysT, *valuesT, *keys, *values;
  float *dKeys, *dValues;
  /** For a block: [rows, S] weights and their gradient, [rows, C] queries, gradients and results. */
  float *weights, *dWeights, *queries, *dOut, *result;
};

static AttentionMemory attentionMemory(const Attention &a, float *scratch) {
  const int64_t S = roundUp(a.S), C = roundUp(a.C);
  const auto take = [&scratch](int64_t size) {
    float *taken = scratch;
    scratch += size;
    return taken;
  };
  return {take(a.C * S),       take(a.C * S),       take(a.S * C),       take(a.S * C),
          take(a.S * C),       take(a.S * C),       take(blockRows * S), take(blockRows * S),
          take(blockRows * C), take(blockRows * C), take(blockRows * C)};
}

static int64_t attentionScratch(const Attention &a) {
  const int64_t S = roundUp(a.S), C = roundUp(a.C);
  return 2 * a.C * S + 4 * a.S * C + 2 * blockRows * S + 3 * blockRows * C;
}

/** Copies rows of C numbers, padded with 0. */
static void packRows(const float *from, int64_t row, int64_t rows, int64_t C, float *to) {
  const int64_t width = roundUp(C);
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = 0; c < width; c += lanes) store(to + r * width + c, loadPart(from + r * row + c, C - c, 0.0f));
  }
}

/** Copies rows of C numbers as columns; the last vector is padded with 0. */
static void packColumns(const float *from, int64_t row, int64_t rows, int64_t C, float *to) {
  const int64_t width = roundUp(rows);
  for (int64_t c = 0; c < C; c++) {
    for (int64_t r = 0; r < rows; r++) to[c * width + r] = from[r * row + c];
    for (int64_t r = rows; r < width; r++) to[c * width + r] = 0.0f;
  }
}

/** Half of the number that a mask adds to scores; a bias below it is a mask. */
const float barred = -0.5e9f;

/** Number of positions that rows `t` to `t + rows` may attend to: up to the last one visible to any of them, or all. */
static int64_t reach(const float *bias, int64_t rows, int64_t S) {
  int64_t last = 0;
  for (int64_t r = 0; r < rows; r++) {
    int64_t s = S;
    while (s > 0 && bias[r * S + s - 1] < barred) s--;
    if (s == 0) return S; // a row that may attend to nothing gets equal weights
    if (s > last) last = s;
  }
  return last;
}

/** Scores of a block's rows in `weights`, scaled and biased; -inf beyond S. */
static void score(const Attention &a, const AttentionMemory &m, const float *q, const float *bias, int64_t rows,
                  int64_t width) {
  const int64_t S = roundUp(a.S);
  multiply({rows, a.C, width, q, a.H * a.C, 1, m.keysT, S, m.weights, S, nullptr, false});
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t s = 0; s < width; s += lanes) {
      float *at = m.weights + r * S + s;
      store(at, load(at) * a.scale + loadPart(bias + r * a.S + s, a.S - s, -__builtin_inff()));
    }
  }
}

static void attention(const Attention &a, int64_t begin, int64_t end, float *scratch) {
  const int64_t S = roundUp(a.S), C = roundUp(a.C), group = a.H / a.K;
  const AttentionMemory m = attentionMemory(a, scratch);
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t b = unit / a.K, head = unit % a.K;
    const int64_t source = (b * a.S * a.K + head) * a.C;
    packColumns(a.k + source, a.K * a.C, a.S, a.C, m.keysT);
    packRows(a.v + source, a.K * a.C, a.S, a.C, m.values);
    const float *bias = a.bias + b % a.biases * a.T * a.S;
    for (int64_t h = head * group; h < (head + 1) * group; h++) {
      for (int64_t t = 0; t < a.T; t += blockRows) {
        const int64_t rows = a.T - t < blockRows ? a.T - t : blockRows;
        const int64_t limit = reach(bias + t * a.S, rows, a.S), width = roundUp(limit);
        const int64_t target = ((b * a.T + t) * a.H + h) * a.C;
        score(a, m, a.q + target, bias + t * a.S, rows, width);
        float totals[blockRows];
        for (int64_t r = 0; r < rows; r++) {
          float *weights = m.weights + r * S;
          Floats tops = load(weights), sums = splat(0.0f);
          for (int64_t s = lanes; s < width; s += lanes) tops = max(load(weights + s), tops);
          const float top = largest(tops);
          for (int64_t s = 0; s < width; s += lanes) {
            const Floats part = exp(load(weights + s) - top);
            store(weights + s, part);
            sums += part;
          }
          totals[r] = sum(sums);
          float *stats = a.stats + ((b * a.H + h) * a.T + t + r) * 2;
          stats[0] = top;
          stats[1] = totals[r];
        }
        multiply({rows, limit, C, m.weights, S, 1, m.values, C, m.result, C, nullptr, false});
        for (int64_t r = 0; r < rows; r++) {
          for (int64_t c = 0; c < a.C; c++) a.out[target + r * a.H * a.C + c] = m.result[r * C + c] / totals[r];
        }
      }
    }
  }
}

static void attentionGradient(const AttentionGradient &g, int64_t begin, int64_t end, float *scratch) {
  const Attention &a = g.forward;
  const int64_t S = roundUp(a.S), C = roundUp(a.C), group = a.H / a.K;
  const AttentionMemory m = attentionMemory(a, scratch);
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t b = unit / a.K, head = unit % a.K;
    const int64_t source = (b * a.S * a.K + head) * a.C;
    packColumns(a.k + source, a.K * a.C, a.S, a.C, m.keysT);
    packColumns(a.v + source, a.K * a.C, a.S, a.C, m.valuesT);
    packRows(a.k + source, a.K * a.C, a.S, a.C, m.keys);
    memset(m.dKeys, 0, a.S * C * sizeof(float));
    memset(m.dValues, 0, a.S * C * sizeof(float));
    const float *bias = a.bias + b % a.biases * a.T * a.S;
    for (int64_t h = head * group; h < (head + 1) * group; h++) {
      for (int64_t t = 0; t < a.T; t += blockRows) {
        const int64_t rows = a.T - t < blockRows ? a.T - t : blockRows;
        const int64_t limit = reach(bias + t * a.S, rows, a.S), width = roundUp(limit);
        const int64_t target = ((b * a.T + t) * a.H + h) * a.C;
        packRows(a.q + target, a.H * a.C, rows, a.C, m.queries);
        packRows(g.dOut + target, a.H * a.C, rows, a.C, m.dOut);
        score(a, m, a.q + target, bias + t * a.S, rows, width);
        multiply({rows, a.C, width, g.dOut + target, a.H * a.C, 1, m.valuesT, S, m.dWeights, S, nullptr, false});
        for (int64_t r = 0; r < rows; r++) {
          const float *stats = a.stats + ((b * a.H + h) * a.T + t + r) * 2;
          const float top = stats[0], share = 1.0f / stats[1];
          // The sum over S of weight * dWeight, computed over C, which is shorter.
          Floats products = splat(0.0f);
          const float *out = a.out + target + r * a.H * a.C;
          for (int64_t c = 0; c < a.C; c += lanes) {
            products += load(m.dOut + r * C + c) * loadPart(out + c, a.C - c, 0.0f);
          }
          const float along = sum(products);
          for (int64_t s = 0; s < width; s += lanes) {
            float *weights = m.weights + r * S + s, *dWeights = m.dWeights + r * S + s;
            const Floats part = exp(load(weights) - top) * share;
            store(weights, part);
            store(dWeights, part * (load(dWeights) - along) * a.scale);
          }
        }
        multiply({rows, limit, C, m.dWeights, S, 1, m.keys, C, m.result, C, nullptr, false});
        for (int64_t r = 0; r < rows; r++) {
          memcpy(g.dq + target + r * a.H * a.C, m.result + r * C, a.C * sizeof(float));
        }
        multiply({limit, rows, C, m.weights, 1, S, m.dOut, C, m.dValues, C, nullptr, true});
        multiply({limit, rows, C, m.dWeights, 1, S, m.queries, C, m.dKeys, C, nullptr, true});
      }
    }
    for (int64_t s = 0; s < a.S; s++) {
      memcpy(g.dk + source + s * a.K * a.C, m.dKeys + s * C, a.C * sizeof(float));
      memcpy(g.dv + source + s * a.K * a.C, m.dValues + s * C, a.C * sizeof(float));
    }
  }
}
