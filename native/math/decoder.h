/**
 * @file One layer of a decoder for one new position of each row: norm, projections, rotary embedding, cache, attention,
 * norm, feed-forward. Up to four vectors of rows are computed together. A vector's lanes are rows, so weights need
 * no rearranging and a row's numbers do not depend on other rows.
 */
#pragma once
#include "cached-attention.h"
#include "product.h"

const int64_t largestBlock = 4 * lanes;

struct DecoderMemory {
  /** Columns `[..., rows]`. */
  float *x, *normal, *q, *k, *v, *gate, *up;
  /** Rows `[rows, ...]`. */
  float *queries, *mixed, *weights;
};

static DecoderMemory decoderMemory(const DecoderLayer &l, float *scratch) {
  const auto take = [&scratch](int64_t size) {
    float *taken = scratch;
    scratch += size;
    return taken;
  };
  const int64_t L = largestBlock, Q = l.H * l.cache.C, KV = l.cache.K * l.cache.C;
  const int64_t widest = Q > l.D ? Q : l.D;
  return {take(l.D * L), take(widest * L), take(Q * L), take(KV * L), take(KV * L),
          take(l.F * L), take(l.F * L),    take(Q * L), take(Q * L),  take(attendScratch(l.cache))};
}

static int64_t decoderScratch(const DecoderLayer &l) {
  const int64_t Q = l.H * l.cache.C, KV = l.cache.K * l.cache.C, widest = Q > l.D ? Q : l.D;
  return (l.D + widest + 3 * Q + 2 * KV + 2 * l.F) * largestBlock + attendScratch(l.cache);
}

/** RMSNorm of columns `[D, L]`; `y` may be `x`. */
static void normColumns(const float *x, int64_t D, int64_t L, const float *weight, float epsilon, float *y) {
  for (int64_t i = 0; i < L; i += lanes) {
    Floats squares = splat(0.0f);
    for (int64_t d = 0; d < D; d++) squares += load(x + d * L + i) * load(x + d * L + i);
    squares = squares / (float)D + epsilon;
    Floats inverse;
    for (int lane = 0; lane < lanes; lane++) inverse[lane] = 1.0f / __builtin_sqrtf(squares[lane]);
    for (int64_t d = 0; d < D; d++) store(y + d * L + i, load(x + d * L + i) * inverse * weight[d]);
  }
}

/** y (+)= weight @ x + bias, for columns `[in, L]` and `[out, L]`. */
static void project(const float *weight, const float *bias, int64_t out, int64_t in, int64_t L, const float *x,
                    float *y, bool accumulate = false) {
  multiply({out, in, L, weight, in, 1, x, L, y, L, bias, accumulate});
}

/** Rotates heads of columns `[N * C, L]` by the angles of `rows` rows. */
static void ropeColumns(const DecoderLayer &l, int64_t first, int64_t rows, int64_t L, int64_t N, float *x) {
  const int64_t C = l.cache.C, half = C / 2;
  for (int64_t c = 0; c < half; c++) {
    for (int64_t i = 0; i < L; i += lanes) {
      Floats cos = splat(1.0f), sin = splat(0.0f);
      for (int64_t lane = 0; lane < lanes && i + lane < rows; lane++) {
        cos[lane] = l.cos[(first + i + lane) * half + c];
        sin[lane] = l.sin[(first + i + lane) * half + c];
      }
      for (int64_t n = 0; n < N; n++) {
        float *a = x + (n * C + c) * L + i, *b = x + (n * C + c + half) * L + i;
        const Floats left = load(a), right = load(b);
        store(a, left * cos - right * sin);
        store(b, right * cos + left * sin);
      }
    }
  }
}

/** Columns `[C, L]` to rows, `rows` of them, `step` numbers apart. */
static void columnsToRows(const float *from, int64_t C, int64_t L, int64_t rows, float *to, int64_t step) {
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = 0; c < C; c++) to[r * step + c] = from[c * L + r];
  }
}

static void rowsToColumns(const float *from, int64_t C, int64_t L, int64_t rows, float *to) {
  for (int64_t c = 0; c < C; c++) {
    for (int64_t r = 0; r < rows; r++) to[c * L + r] = from[r * C + c];
    for (int64_t r = rows; r < L; r++) to[c * L + r] = 0.0f;
  }
}

/** For rows `begin` to `end` in multiples of `lanes`. */
static void decoderLayer(const DecoderLayer &l, int64_t begin, int64_t end, float *scratch) {
  const DecoderMemory m = decoderMemory(l, scratch);
  const Cache &cache = l.cache;
  const int64_t D = l.D, C = cache.C, Q = l.H * C, KV = cache.K * C;
  const int64_t last = end * lanes < l.B ? end * lanes : l.B;
  for (int64_t first = begin * lanes; first < last; first += largestBlock) {
    const int64_t rows = last - first < largestBlock ? last - first : largestBlock;
    const int64_t L = roundUp(rows);
    rowsToColumns(l.x + first * D, D, L, rows, m.x);
    normColumns(m.x, D, L, l.inputNorm, l.epsilon, m.normal);
    project(l.q, l.qBias, Q, D, L, m.normal, m.q);
    project(l.k, l.kBias, KV, D, L, m.normal, m.k);
    project(l.v, l.vBias, KV, D, L, m.normal, m.v);
    if (l.qNorm != nullptr) {
      for (int64_t h = 0; h < l.H; h++) normColumns(m.q + h * C * L, C, L, l.qNorm, l.epsilon, m.q + h * C * L);
      for (int64_t h = 0; h < cache.K; h++) normColumns(m.k + h * C * L, C, L, l.kNorm, l.epsilon, m.k + h * C * L);
    }
    ropeColumns(l, first, rows, L, l.H, m.q);
    ropeColumns(l, first, rows, L, cache.K, m.k);
    columnsToRows(m.q, Q, L, rows, m.queries, Q);
    for (int64_t r = 0; r < rows; r++) {
      const int64_t slot = first + r, position = l.positions[slot];
      for (int64_t h = 0; h < cache.K; h++) {
        const int64_t at = ((slot * cache.K + h) * cache.S + position) * C;
        columnsToRows(m.k + h * C * L + r, C, L, 1, cache.keys + at, 0);
        columnsToRows(m.v + h * C * L + r, C, L, 1, cache.values + at, 0);
      }
      attend(cache, slot, position, m.queries + r * Q, l.H, l.scale, m.weights, m.mixed + r * Q);
    }
    rowsToColumns(m.mixed, Q, L, rows, m.normal);
    project(l.o, nullptr, D, Q, L, m.normal, m.x, true);
    normColumns(m.x, D, L, l.postNorm, l.epsilon, m.normal);
    project(l.gate, nullptr, l.F, D, L, m.normal, m.gate);
    project(l.up, nullptr, l.F, D, L, m.normal, m.up);
    for (int64_t i = 0; i < l.F * L; i += lanes) {
      const Floats gate = load(m.gate + i);
      store(m.gate + i, gate * (sigmoid(gate) * load(m.up + i)));
    }
    project(l.down, nullptr, D, l.F, L, m.gate, m.x, true);
    columnsToRows(m.x, D, L, rows, l.y + first * D, D);
  }
}
