/** @file RMSNorm, SwiGLU, rotary embedding and token log-probs, with their gradients. */
#include <algorithm>

#include "ops.h"
#include "parallel.h"
#include "tensorflow.h"

namespace {

/** Rows whose contributions to a weight's gradient are summed together: fixed, so that sums do not depend on threads.
 */
constexpr int64_t chunkRows = 64;

/** Its type attribute is not named T: without AVX-512, oneDNN warns about every node whose T is bfloat16. */
struct LinearKernel {
  bool round;

  static OpDefinition op() {
    return {"TinyzeroLinear", {"x: float", "weight: W"}, {"y: float"}, {"W: {float, bfloat16, uint8}", "round: bool"}};
  }
  explicit LinearKernel(const Attributes &attributes) : round(attributes.flag("round")) {}

  void compute(const Call &call) const {
    const Tensor x = call.input(0), weight = call.input(1);
    const bool bytes = weight.type() == TF_UINT8, narrow = weight.type() == TF_BFLOAT16;
    const int64_t before = bytes ? scaleBytes : 0;
    require(x.rank() == 2 && weight.rank() == 2 && x.dim(1) + before == weight.dim(1),
            "linear: expected x [R, D] and weight [E, D", bytes ? " + 4" : "", "], found ", x, " and ", weight);
    const int64_t R = x.dim(0), D = x.dim(1), E = weight.dim(0), unit = math().linearUnit;
    const void *matrix = narrow || bytes ? weight.data() : weight.floats();
    require(R <= math().linearRows, "linear: expected at most ", math().linearRows, " rows, found ", R);
    Linear args{nullptr, matrix, narrow, bytes, round && narrow, call.output(0, {R, E}).floats(), R, D, E};
    float *rows = scratch(R * math().linearWidth(args));
    math().arrangeRows(args, x.floats(), rows);
    args.x = rows;
    // Each number of the matrix costs the time of its read, then that of its products.
    const double read = bytes ? 0.08 : narrow ? 0.15 : 0.3;
    share((E + unit - 1) / unit, unit * D * (read + 0.01 * R),
          [&](int64_t begin, int64_t end) { math().linear(args, begin, end); });
  }
};

struct RmsNormKernel {
  float epsilon;

  static OpDefinition op() {
    return {"TinyzeroRmsNorm", {"x: float", "weight: float"}, {"y: float", "inverse: float"}, {"epsilon: float"}};
  }
  explicit RmsNormKernel(const Attributes &attributes) : epsilon(attributes.number("epsilon")) {}

  void compute(const Call &call) const {
    const Tensor x = call.input(0), weight = call.input(1);
    require(weight.size() == x.dim(-1), "RMSNorm: expected x [..., D] and weight [D], found ", x, " and ", weight);
    const Tensor y = call.output(0, x.shape()), inverse = call.output(1, {x.rows()});
    const RmsNorm args{x.floats(), weight.floats(), y.floats(), inverse.floats(), x.dim(-1), epsilon};
    share(x.rows(), 0.5 * args.D, [&](int64_t begin, int64_t end) { math().rmsNorm(args, begin, end); });
  }
};

struct RmsNormGradientKernel {
  static OpDefinition op() {
    return {"TinyzeroRmsNormGradient",
            {"dy: float", "x: float", "weight: float", "inverse: float"},
            {"dx: float", "d_weight: float"},
            {}};
  }
  explicit RmsNormGradientKernel(const Attributes &) {}

  void compute(const Call &call) const {
    const Tensor dy = call.input(0), x = call.input(1), weight = call.input(2), inverse = call.input(3);
    const int64_t rows = x.rows(), D = x.dim(-1), chunks = (rows + chunkRows - 1) / chunkRows;
    require(dy.size() == x.size() && weight.size() == D && inverse.size() == rows,
            "RMSNorm gradient: expected dy and x [..., D], weight [D] and one inverse per row; found dy ", dy, ", x ",
            x, ", weight ", weight, ", inverse ", inverse);
    const Tensor dx = call.output(0, x.shape()), dWeight = call.output(1, {D});
    std::vector<float> partial(chunks * D);
    const RmsNormGradient args{dy.floats(), x.floats(), weight.floats(), inverse.floats(), dx.floats(), partial.data(),
                               rows,        D,          chunkRows};
    share(chunks, 1.0 * chunkRows * D, [&](int64_t begin, int64_t end) { math().rmsNormGradient(args, begin, end); });
    float *sums = dWeight.floats();
    std::fill(sums, sums + D, 0.0f);
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      for (int64_t d = 0; d < D; d++) sums[d] += partial[chunk * D + d];
    }
  }
};

/** Calls `work` for elements, in pieces that start at whole vectors. */
template <class Work> void shareElements(int64_t size, double cost, const Work &work) {
  const int64_t lanes = math().lanes, vectors = (size + lanes - 1) / lanes;
  share(vectors, cost * lanes, [&](int64_t begin, int64_t end) { work(begin * lanes, std::min(end * lanes, size)); });
}

struct SwigluKernel {
  static OpDefinition op() { return {"TinyzeroSwiglu", {"gate: float", "up: float"}, {"y: float"}, {}}; }
  explicit SwigluKernel(const Attributes &) {}

  void compute(const Call &call) const {
    const Tensor gate = call.input(0), up = call.input(1);
    require(gate.size() == up.size(), "SwiGLU: expected gate and up of the same size, found ", gate, " and ", up);
    const Tensor y = call.output(0, gate.shape());
    const Swiglu args{gate.floats(), up.floats(), y.floats()};
    shareElements(gate.size(), 0.5, [&](int64_t begin, int64_t end) { math().swiglu(args, begin, end); });
  }
};

struct SwigluGradientKernel {
  static OpDefinition op() {
    return {"TinyzeroSwigluGradient", {"dy: float", "gate: float", "up: float"}, {"d_gate: float", "d_up: float"}, {}};
  }
  explicit SwigluGradientKernel(const Attributes &) {}

  void compute(const Call &call) const {
    const Tensor dy = call.input(0), gate = call.input(1), up = call.input(2);
    require(gate.size() == up.size() && dy.size() == gate.size(),
            "SwiGLU gradient: expected dy, gate and up of the same size, found ", dy, ", ", gate, " and ", up);
    const Tensor dGate = call.output(0, gate.shape()), dUp = call.output(1, gate.shape());
    const SwigluGradient args{dy.floats(), gate.floats(), up.floats(), dGate.floats(), dUp.floats()};
    shareElements(gate.size(), 1, [&](int64_t begin, int64_t end) { math().swigluGradient(args, begin, end); });
  }
};

struct RopeKernel {
  bool back;

  static OpDefinition op() {
    return {"TinyzeroRope", {"x: float", "cos: float", "sin: float"}, {"y: float"}, {"back: bool"}};
  }
  explicit RopeKernel(const Attributes &attributes) : back(attributes.flag("back")) {}

  void compute(const Call &call) const {
    const Tensor x = call.input(0), cos = call.input(1), sin = call.input(2);
    require(x.rank() == 4, "RoPE: expected x [B, T, N, C], found ", x);
    const int64_t B = x.dim(0), T = x.dim(1), N = x.dim(2), C = x.dim(3);
    require(C > 0 && C % 2 == 0, "RoPE: expected heads of an even width above 0, found ", C);
    const int64_t angles = cos.size() * 2 / C;
    require(cos.size() == sin.size() && cos.size() * 2 == angles * C && (angles == T || angles == B * T),
            "RoPE: expected cos and sin [T, C / 2] or [B, T, C / 2] for x [B, T, N, C]; found cos ", cos, ", sin ", sin,
            ", x ", x);
    const Tensor y = call.output(0, x.shape());
    const Rope args{x.floats(), cos.floats(), sin.floats(), y.floats(), N, C, angles, back ? -1.0f : 1.0f};
    share(B * T, 0.5 * N * C, [&](int64_t begin, int64_t end) { math().rope(args, begin, end); });
  }
};

void requireIds(const Tensor &ids, int64_t rows, int64_t V) {
  require(ids.size() == rows, "token log-probs: expected an id for each of ", rows, " rows, found ", ids);
  for (int64_t row = 0; row < rows; row++) {
    const int32_t id = ids.ints()[row];
    require(id >= 0 && id < V, "token log-probs: expected ids from 0 to ", V - 1, ", found ", id);
  }
}

struct LogProbKernel {
  static OpDefinition op() {
    return {
        "TinyzeroLogProb", {"logits: float", "ids: int32", "scale: float"}, {"log_probs: float", "stats: float"}, {}};
  }
  explicit LogProbKernel(const Attributes &) {}

  void compute(const Call &call) const {
    const Tensor logits = call.input(0), ids = call.input(1), scale = call.input(2);
    const int64_t rows = logits.rows(), V = logits.dim(-1);
    requireIds(ids, rows, V);
    const Tensor logProbs = call.output(0, {rows}), stats = call.output(1, {rows, 2});
    const LogProb args{logits.floats(), ids.ints(), logProbs.floats(), stats.floats(), V, scale.scalar()};
    share(rows, 0.7 * V, [&](int64_t begin, int64_t end) { math().logProb(args, begin, end); });
  }
};

struct LogProbGradientKernel {
  static OpDefinition op() {
    return {"TinyzeroLogProbGradient",
            {"dy: float", "logits: float", "ids: int32", "scale: float", "stats: float"},
            {"d_logits: float"},
            {}};
  }
  explicit LogProbGradientKernel(const Attributes &) {}

  void compute(const Call &call) const {
    const Tensor dy = call.input(0), logits = call.input(1), ids = call.input(2), scale = call.input(3);
    const Tensor stats = call.input(4);
    const int64_t rows = logits.rows(), V = logits.dim(-1);
    requireIds(ids, rows, V);
    require(dy.size() == rows && stats.size() == 2 * rows,
            "token log-probs gradient: expected logits [N, V], dy [N] and stats [N, 2], found ", logits, ", ", dy,
            " and ", stats);
    const Tensor dLogits = call.output(0, logits.shape());
    const LogProbGradient args{dy.floats(), logits.floats(), stats.floats(), ids.ints(), dLogits.floats(),
                               V,           scale.scalar()};
    share(rows, 0.7 * V, [&](int64_t begin, int64_t end) { math().logProbGradient(args, begin, end); });
  }
};

} // namespace

std::vector<const char *> registerLayerOps() {
  return {registerKernel<LinearKernel>(),          registerKernel<RmsNormKernel>(),
          registerKernel<RmsNormGradientKernel>(), registerKernel<SwigluKernel>(),
          registerKernel<SwigluGradientKernel>(),  registerKernel<RopeKernel>(),
          registerKernel<LogProbKernel>(),         registerKernel<LogProbGradientKernel>()};
}
