/** @file log softmax(scale * logits)[id] row by row, its gradient, and drawing an id; scale is above 0. */
#pragma once
#include "../kernels.h"
#include "vector.h"

struct Softmax {
  /** The largest logit, and the sum of e^(scale * (logit - largest)). */
  float top, total;
};

/** Scales differences, not logits: with a large scale, one product would be rounded and the other not (fma). */
static inline Floats weightsOf(Floats logits, float scale, float top) { return exp((logits - top) * scale); }

static inline Softmax softmaxOf(const float *logits, int64_t V, float scale) {
  Floats tops = splat(-__builtin_inff());
  for (int64_t v = 0; v < V; v += lanes) tops = max(loadPart(logits + v, V - v, -__builtin_inff()), tops);
  const float top = largest(tops);
  Floats totals = splat(0.0f);
  for (int64_t v = 0; v < V; v += lanes) {
    totals += weightsOf(loadPart(logits + v, V - v, -__builtin_inff()), scale, top);
  }
  return {top, sum(totals)};
}

static void logProb(const LogProb &p, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const float *logits = p.logits + row * p.V;
    const Softmax softmax = softmaxOf(logits, p.V, p.scale);
    p.stats[2 * row] = softmax.top;
    p.stats[2 * row + 1] = softmax.total;
    p.logProbs[row] = (logits[p.ids[row]] - softmax.top) * p.scale - __builtin_logf(softmax.total);
  }
}

/** d logits = dy * scale * (onehot(id) - softmax). */
static void logProbGradient(const LogProbGradient &p, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const float *logits = p.logits + row * p.V;
    float *dLogits = p.dLogits + row * p.V;
    const float top = p.stats[2 * row], factor = p.dy[row] * p.scale, share = factor / p.stats[2 * row + 1];
    for (int64_t v = 0; v < p.V; v += lanes) {
      storePart(dLogits + v, weightsOf(loadPart(logits + v, p.V - v, 0.0f), p.scale, top) * -share, p.V - v);
    }
    dLogits[p.ids[row]] += factor;
  }
}

/**
 * The first id whose cumulative weight exceeds uniform * total, where the total is the last cumulative weight: rounded
 * to float32, total * (1 - 2^-24) is still below the total, so every uniform finds an id of positive weight.
 */
static void draw(const Draw &d, int64_t begin, int64_t end, float *weights) {
  for (int64_t row = begin; row < end; row++) {
    const float *logits = d.logits + row * d.V;
    const Softmax softmax = softmaxOf(logits, d.V, d.scale);
    for (int64_t v = 0; v < d.V; v += lanes) {
      const int64_t left = d.V - v;
      storePart(weights + v, weightsOf(loadPart(logits + v, left, -__builtin_inff()), d.scale, softmax.top), left);
    }
    float total = 0;
    for (int64_t v = 0; v < d.V; v++) total += weights[v];
    const float target = total * d.uniforms[row];
    float cumulative = weights[0];
    int64_t id = 0;
    // Stops at the last id: if a logit is NaN, no comparison is true, and the log-prob is NaN.
    while (id < d.V - 1 && !(cumulative > target)) cumulative += weights[++id];
    d.tokens[row] = (int32_t)id;
    d.logProbs[row] = (logits[id] - softmax.top) * d.scale - __builtin_logf(softmax.total);
  }
}
