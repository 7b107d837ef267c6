/**
 * @file The arguments of the arithmetic, as plain records, and the table through which it is called. The arithmetic
 * (math.cc) is compiled once per instruction set; kernels.cc takes the best table that the processor can run.
 *
 * Arrays are row-major. Every function computes a range of independent units, so that threads can share the work; the
 * result of a unit never depends on how units are divided. Letters are those of src/engine/shape.ts.
 */
#pragma once
#include <stdint.h>

struct RmsNorm {
  const float *x, *weight;
  float *y, *inverse;
  int64_t D;
  float epsilon;
};

struct RmsNormGradient {
  const float *dy, *x, *weight, *inverse;
  float *dx, *dWeight;
  int64_t R, D, chunkRows;
};

struct Swiglu {
  const float *gate, *up;
  float *y;
};

struct SwigluGradient {
  const float *dy, *gate, *up;
  float *dGate, *dUp;
};

struct Rope {
  const float *x, *cos, *sin;
  float *y;
  int64_t N, C;
  /** Rows of cos and sin: T or B * T. */
  int64_t angles;
  /** 1, or -1 for the inverse rotation. */
  float direction;
};

struct LogProb {
  const float *logits;
  const int32_t *ids;
  float *logProbs;
  /** For each row, `[N, 2]`: its largest logit, and the sum of e^(scale * (logit - largest)). */
  float *stats;
  int64_t V;
  float scale;
};

struct LogProbGradient {
  const float *dy, *logits, *stats;
  const int32_t *ids;
  float *dLogits;
  int64_t V;
  float scale;
};

struct Draw {
  const float *logits, *uniforms;
  int32_t *tokens;
  float *logProbs;
  int64_t V;
  float scale;
};

struct AdamW {
  float *parameter, *m, *v;
  const float *gradient;
  float beta1, beta2, scale, rate, epsilon, decay;
};

struct SumOfSquares {
  const float *x;
  float *sums;
  int64_t size, chunkSize;
};

/** y `[R, E]` = x `[R, D]` @ w `[E, D]`^T */
struct Linear {
  /** Arranged by `arrangeRows`. */
  const float *x;
  /** Float32, bfloat16 if `narrow`, or rows as `Quantize` writes them if `bytes`. */
  const void *w;
  bool narrow, bytes;
  /** x is rounded to bfloat16; only if `narrow`. */
  bool round;
  float *y;
  int64_t R, D, E;
};

/** Bytes of a row's scale. */
const int64_t scaleBytes = sizeof(float);

/** A row x `[D]` as a float, its scale, and D signed bytes: x is about scale * byte. */
struct Quantize {
  const float *x;
  char *y;
  int64_t D;
};

/** The floats that such rows represent. */
struct Dequantize {
  const char *x;
  float *y;
  int64_t D;
};

/** A matrix `[rows, K]`: element (i, k) is data[i * row + k * column]. */
struct Factor {
  const void *data;
  int64_t rows, row, column;
  /** bfloat16 instead of float32. */
  bool narrow;
  /** Floats are rounded to bfloat16 before they are multiplied. */
  bool round;
  /** Signed bytes instead of float32, `row` apart; the scale of each row is before its bytes. Then `column` is 1. */
  bool bytes;
};

/** Sums over k of rows[i][k] * lanes[l][k], at y[i * yRow + l * yLane]. */
struct MatMul {
  Factor rows, lanes;
  float *y;
  int64_t K, yRow, yLane;
  /**
   * `panelCount` panels of the factor in the lanes, from number `firstPanel` on, as `matMulArrange` writes them:
   * floats, or words of two bfloat16.
   */
  float *panels;
  int64_t firstPanel, panelCount;
};

struct Attention {
  const float *q, *k, *v, *bias;
  float *out;
  /** For each row, `[B, H, T, 2]`: its largest score, and the sum of e^(score - largest). */
  float *stats;
  int64_t B, T, H, S, K, C;
  /** Sequences in `bias`: 1 or B. */
  int64_t biases;
  float scale;
};

struct AttentionGradient {
  Attention forward;
  const float *dOut;
  float *dq, *dk, *dv;
};

struct Cache {
  float *keys, *values;
  int64_t K, S, C;
};

struct CachedAttention {
  const float *q;
  const int32_t *positions;
  float *out;
  Cache cache;
  int64_t T, H;
  /** Number of positions: T or B * T. */
  int64_t positionCount;
  float scale;
};

struct DecoderLayer {
  const float *x, *cos, *sin;
  const int32_t *positions;
  float *y;
  const float *inputNorm, *q, *k, *v, *o, *postNorm, *gate, *up, *down;
  /** Null if the model has none. */
  const float *qBias, *kBias, *vBias, *qNorm, *kNorm;
  Cache cache;
  int64_t B, D, H, F;
  float epsilon, scale;
};

/** Units: rows, elements, chunks, sequences times key/value heads, or vectors of rows. */
struct Math {
  /** Floats in a vector. */
  int64_t lanes;
  /** Whether `matMul` has an instruction for pairs of bfloat16. */
  bool multipliesPairs;
  /** Columns of a result in one unit of `linear`. */
  int64_t linearUnit;
  /** Largest number of rows of `linear`. */
  int64_t linearRows;
  int64_t (*linearWidth)(const Linear &);
  void (*arrangeRows)(const Linear &, const float *, float *);
  void (*linear)(const Linear &, int64_t, int64_t);
  void (*quantize)(const Quantize &, int64_t, int64_t);
  void (*dequantize)(const Dequantize &, int64_t, int64_t);
  /** Rows in one unit of `matMul`. */
  int64_t matMulRows;
  int64_t (*matMulPanels)(const MatMul &);
  int64_t (*matMulPanel)(const MatMul &);
  void (*matMulArrange)(const MatMul &, int64_t, int64_t);
  int64_t (*matMulScratch)(const MatMul &);
  void (*matMul)(const MatMul &, int64_t, int64_t, float *);
  void (*rmsNorm)(const RmsNorm &, int64_t, int64_t);
  void (*rmsNormGradient)(const RmsNormGradient &, int64_t, int64_t);
  void (*swiglu)(const Swiglu &, int64_t, int64_t);
  void (*swigluGradient)(const SwigluGradient &, int64_t, int64_t);
  void (*rope)(const Rope &, int64_t, int64_t);
  void (*logProb)(const LogProb &, int64_t, int64_t);
  void (*logProbGradient)(const LogProbGradient &, int64_t, int64_t);
  void (*adamW)(const AdamW &, int64_t, int64_t);
  void (*sumOfSquares)(const SumOfSquares &, int64_t, int64_t);
  /** These take a scratch of the calling thread: V floats for `draw`, for others what the function above them returns.
   */
  void (*draw)(const Draw &, int64_t, int64_t, float *);
  int64_t (*attentionScratch)(const Attention &);
  void (*attention)(const Attention &, int64_t, int64_t, float *);
  void (*attentionGradient)(const AttentionGradient &, int64_t, int64_t, float *);
  int64_t (*attendScratch)(const Cache &);
  void (*cachedAttention)(const CachedAttention &, int64_t, int64_t, float *);
  int64_t (*decoderScratch)(const DecoderLayer &);
  void (*decoderLayer)(const DecoderLayer &, int64_t, int64_t, float *);
};

extern "C" const Math baselineMath, avx2Math, avx512Math, avx512Bf16Math;
