/** @file Attention of whole sequences, with its gradient. */
#include "ops.h"
#include "parallel.h"
#include "tensorflow.h"

namespace {

/** Checks the shapes: q `[B, T, H, C]`, k and v `[B, S, K, C]`, bias `[B | 1, T, S]`. */
Attention describe(const Tensor &q, const Tensor &k, const Tensor &v, const Tensor &bias, float scale) {
  const auto requireShapes = [&](bool fit) {
    require(fit,
            "attention: expected q [B, T, H, C], k and v [B, S, K, C], bias [B or 1, T, S], with S, K and C above 0, ",
            "and H a multiple of K; found q ", q, ", k ", k, ", v ", v, ", bias ", bias);
  };
  requireShapes(q.rank() == 4 && k.rank() == 4 && bias.rank() == 3);
  Attention a{};
  a.B = q.dim(0), a.T = q.dim(1), a.H = q.dim(2), a.C = q.dim(3), a.S = k.dim(1), a.K = k.dim(2);
  a.biases = bias.dim(0);
  requireShapes(k.dim(0) == a.B && k.dim(3) == a.C && v.shape() == k.shape());
  requireShapes(a.S > 0 && a.K > 0 && a.C > 0 && a.H % a.K == 0);
  requireShapes((a.biases == 1 || a.biases == a.B) && bias.dim(1) == a.T && bias.dim(2) == a.S);
  a.q = q.floats(), a.k = k.floats(), a.v = v.floats(), a.bias = bias.floats();
  a.scale = scale;
  return a;
}

/** Nanoseconds per unit: one sequence, one key/value head. */
double unitCost(const Attention &a) { return 0.05 * a.T * a.S * a.C * (a.H / a.K); }

struct AttentionKernel {
  float scale;

  static OpDefinition op() {
    return {"TinyzeroAttention",
            {"q: float", "k: float", "v: float", "bias: float"},
            {"out: float", "stats: float"},
            {"scale: float"}};
  }
  explicit AttentionKernel(const Attributes &attributes) : scale(attributes.number("scale")) {}

  void compute(const Call &call) const {
    const Tensor q = call.input(0), k = call.input(1), v = call.input(2), bias = call.input(3);
    Attention args = describe(q, k, v, bias, scale);
    const Tensor out = call.output(0, {args.B, args.T, args.H * args.C});
    const Tensor stats = call.output(1, {args.B, args.H, args.T, 2});
    args.out = out.floats(), args.stats = stats.floats();
    share(args.B * args.K, unitCost(args), [&](int64_t begin, int64_t end) {
      math().attention(args, begin, end, scratch(math().attentionScratch(args)));
    });
  }
};

struct AttentionGradientKernel {
  float scale;

  static OpDefinition op() {
    return {"TinyzeroAttentionGradient",
            {"dout: float", "q: float", "k: float", "v: float", "bias: float", "out: float", "stats: float"},
            {"dq: float", "dk: float", "dv: float"},
            {"scale: float"}};
  }
  explicit AttentionGradientKernel(const Attributes &attributes) : scale(attributes.number("scale")) {}

  void compute(const Call &call) const {
    const Tensor dOut = call.input(0), q = call.input(1), k = call.input(2), v = call.input(3), bias = call.input(4);
    const Tensor out = call.input(5), stats = call.input(6);
    AttentionGradient args{describe(q, k, v, bias, scale), dOut.floats(), nullptr, nullptr, nullptr};
    Attention &forward = args.forward;
    require(
        dOut.size() == q.size() && out.size() == q.size() && stats.size() == 2 * forward.B * forward.H * forward.T,
        "attention gradient: expected dout and out of the size of q [B, T, H, C], and stats [B, H, T, 2]; found dout ",
        dOut, ", out ", out, ", q ", q, ", stats ", stats);
    forward.out = out.floats(), forward.stats = stats.floats();
    const Tensor dq = call.output(0, q.shape()), dk = call.output(1, k.shape()), dv = call.output(2, v.shape());
    args.dq = dq.floats(), args.dk = dk.floats(), args.dv = dv.floats();
    share(forward.B * forward.K, 2.5 * unitCost(forward), [&](int64_t begin, int64_t end) {
      math().attentionGradient(args, begin, end, scratch(math().attentionScratch(forward)));
    });
  }
};

} // namespace

std::vector<const char *> registerAttentionOps() {
  return {registerKernel<AttentionKernel>(), registerKernel<AttentionGradientKernel>()};
}
