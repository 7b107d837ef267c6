/**
 * @file Grouped-query attention of single positions to a cache whose rows are `[(slot * K + head) * S + position, C]`:
 * reads only the positions up to the query's own.
 */
#pragma once
#include "../kernels.h"
#include "vector.h"

/** Replaces `scores` by weights without their common factor, which is returned. */
static float softmaxInPlace(float *scores, int64_t count) {
  Floats tops = splat(-__builtin_inff()), totals = splat(0.0f);
  for (int64_t s = 0; s < count; s += lanes) tops = max(loadPart(scores + s, count - s, -__builtin_inff()), tops);
  const float top = largest(tops);
  for (int64_t s = 0; s < count; s += lanes) {
    const Floats part = exp(loadPart(scores + s, count - s, -__builtin_inff()) - top);
    store(scores + s, part);
    totals += part;
  }
  return 1.0f / sum(totals);
}

/** Prefetches memory that will be read soon. */
static inline void prefetch(const float *at, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) __builtin_prefetch(at + i);
}

/**
 * `Heads` query heads that read the same `count` rows of keys and values, of a width known at compile time, so that
 * sums stay in registers. `weights` has room for `room` positions of each head.
 */
template <int64_t C, int Heads>
static inline void attendHeads(const float *q, const float *keys, const float *values, int64_t count, int64_t next,
                               float scale, float *weights, int64_t room, float *out) {
  const int64_t parts = (C + lanes - 1) / lanes;
  Floats queries[Heads][parts];
  for (int h = 0; h < Heads; h++) {
    for (int64_t c = 0; c < parts; c++) queries[h][c] = loadPart(q + h * C + c * lanes, C - c * lanes, 0.0f);
  }
  for (int64_t s = 0; s < count; s++) {
    prefetch(keys + next + s * C, C);
    Floats products[Heads] = {};
    for (int64_t c = 0; c < parts; c++) {
      const Floats key = loadPart(keys + s * C + c * lanes, C - c * lanes, 0.0f);
      for (int h = 0; h < Heads; h++) products[h] += queries[h][c] * key;
    }
    for (int h = 0; h < Heads; h++) weights[h * room + s] = sum(products[h]) * scale;
  }
  float shares[Heads];
  for (int h = 0; h < Heads; h++) shares[h] = softmaxInPlace(weights + h * room, count);
  Floats mixed[Heads][parts] = {};
  for (int64_t s = 0; s < count; s++) {
    prefetch(values + next + s * C, C);
    for (int64_t c = 0; c < parts; c++) {
      const Floats value = loadPart(values + s * C + c * lanes, C - c * lanes, 0.0f);
      for (int h = 0; h < Heads; h++) mixed[h][c] += weights[h * room + s] * value;
    }
  }
  for (int h = 0; h < Heads; h++) {
    for (int64_t c = 0; c < parts; c++) storePart(out + h * C + c * lanes, mixed[h][c] * shares[h], C - c * lanes);
  }
}

/** The same for one head of any width. */
static void attendHead(const float *q, const float *keys, const float *values, int64_t count, int64_t C, float scale,
                       float *weights, float *out) {
  for (int64_t s = 0; s < count; s++) {
    Floats products = splat(0.0f);
    for (int64_t c = 0; c < C; c += lanes) {
      products += loadPart(q + c, C - c, 0.0f) * loadPart(keys + s * C + c, C - c, 0.0f);
    }
    weights[s] = sum(products) * scale;
  }
  const float share = softmaxInPlace(weights, count);
  for (int64_t c = 0; c < C; c += lanes) {
    Floats mixed = splat(0.0f);
    for (int64_t s = 0; s < count; s++) mixed += weights[s] * loadPart(values + s * C + c, C - c, 0.0f);
    storePart(out + c, mixed * share, C - c);
  }
}

/** Largest number of heads that are computed together; each needs memory for its weights. */
const int64_t headsTogether = 2;

template <int64_t C>
static inline void attendGroup(const float *q, const float *keys, const float *values, int64_t heads, int64_t count,
                               int64_t next, float scale, float *weights, int64_t room, float *out) {
  int64_t h = 0;
  for (; h + 2 <= heads; h += 2) {
    attendHeads<C, 2>(q + h * C, keys, values, count, next, scale, weights, room, out + h * C);
  }
  if (h < heads) attendHeads<C, 1>(q + h * C, keys, values, count, next, scale, weights, room, out + h * C);
}

/** All query heads of one row: `q` and `out` `[H, C]`. `weights` has `attendScratch` numbers. */
static void attend(const Cache &cache, int64_t slot, int64_t position, const float *query, int64_t H, float scale,
                   float *weights, float *result) {
  const int64_t group = H / cache.K, C = cache.C, count = position + 1, room = roundUp(cache.S);
  const int64_t next = cache.S * C;
  for (int64_t head = 0; head < cache.K; head++) {
    const int64_t first = (slot * cache.K + head) * cache.S * C;
    const float *keys = cache.keys + first, *values = cache.values + first, *q = query + head * group * C;
    float *out = result + head * group * C;
    switch (C) {
    case 16: attendGroup<16>(q, keys, values, group, count, next, scale, weights, room, out); break;
    case 24: attendGroup<24>(q, keys, values, group, count, next, scale, weights, room, out); break;
    case 32: attendGroup<32>(q, keys, values, group, count, next, scale, weights, room, out); break;
    case 64: attendGroup<64>(q, keys, values, group, count, next, scale, weights, room, out); break;
    case 128: attendGroup<128>(q, keys, values, group, count, next, scale, weights, room, out); break;
    default:
      for (int64_t h = 0; h < group; h++) {
        attendHead(q + h * C, keys, values, count, C, scale, weights, out + h * C);
      }
    }
  }
}

static int64_t attendScratch(const Cache &cache) { return headsTogether * roundUp(cache.S); }

/** For queries `begin` to `end` of B * T. */
static void cachedAttention(const CachedAttention &a, int64_t begin, int64_t end, float *scratch) {
  for (int64_t row = begin; row < end; row++) {
    const int64_t at = row * a.H * a.cache.C;
    attend(a.cache, row / a.T, a.positions[row % a.positionCount], a.q + at, a.H, a.scale, scratch, a.out + at);
  }
}
