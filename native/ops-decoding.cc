/** @file Decoding with a cache: attention, a whole decoder layer, drawing. */
#include "ops.h"
#include "parallel.h"
#include "tensorflow.h"

namespace {

/** The cache `[(slots) * K * S, C]`, for `rows` slots at `positions`. */
Cache describeCache(const Tensor &keys, const Tensor &values, int64_t K, int64_t S, int64_t rows,
                    const Tensor &positions) {
  require(keys.shape() == values.shape() && keys.rank() == 2 && keys.dim(0) >= rows * K * S,
          "cached attention: the cache does not fit");
  for (int64_t i = 0; i < positions.size(); i++) {
    require(positions.ints()[i] >= 0 && positions.ints()[i] < S, "cached attention: a position is out of range");
  }
  return {keys.floats(), values.floats(), K, S, keys.dim(1)};
}

struct CachedAttentionKernel {
  float scale;
  int64_t kvHeads, length;

  static OpDefinition op() {
    return {"TinyzeroCachedAttention",
            {"q: float", "keys: float", "values: float", "positions: int32"},
            {"out: float"},
            {"scale: float", "kv_heads: int", "length: int"}};
  }
  explicit CachedAttentionKernel(const Attributes &attributes)
      : scale(attributes.number("scale")), kvHeads(attributes.integer("kv_heads")),
        length(attributes.integer("length")) {}

  void compute(const Call &call) const {
    const Tensor q = call.input(0), keys = call.input(1), values = call.input(2), positions = call.input(3);
    require(q.rank() == 4 && q.dim(2) % kvHeads == 0, "cached attention: queries must be [B, T, H, C]");
    const int64_t B = q.dim(0), T = q.dim(1), H = q.dim(2), C = q.dim(3);
    require(positions.size() == T || positions.size() == B * T, "cached attention: positions do not fit");
    const Cache cache = describeCache(keys, values, kvHeads, length, B, positions);
    require(cache.C == C, "cached attention: widths differ");
    const Tensor out = call.output(0, {B, T, H * C});
    const CachedAttention args{q.floats(), positions.ints(), out.floats(), cache, T, H, positions.size(), scale};
    share(B * T, 0.2 * length * H * C, [&](int64_t begin, int64_t end) {
      math().cachedAttention(args, begin, end, scratch(math().attendScratch(cache)));
    });
  }
};

struct DecoderLayerKernel {
  float scale, epsilon;
  int64_t kvHeads, length;
  bool biases, headNorms;

  static OpDefinition op() {
    return {"TinyzeroDecoderLayer",
            {"x: float", "cos: float", "sin: float", "positions: int32", "keys: float", "values: float",
             "weights: count * float"},
            {"y: float", "new_keys: float", "new_values: float"},
            {"scale: float", "epsilon: float", "kv_heads: int", "length: int", "biases: bool", "head_norms: bool",
             "count: int"},
            true};
  }
  explicit DecoderLayerKernel(const Attributes &attributes)
      : scale(attributes.number("scale")), epsilon(attributes.number("epsilon")),
        kvHeads(attributes.integer("kv_heads")), length(attributes.integer("length")),
        biases(attributes.flag("biases")), headNorms(attributes.flag("head_norms")) {}

  void compute(const Call &call) const {
    const Tensor x = call.input(0), cos = call.input(1), sin = call.input(2), positions = call.input(3);
    const Tensor keys = call.input(4), values = call.input(5);
    require(x.rank() == 2 && positions.size() == x.dim(0), "decoder layer: x must be [B, D], positions [B]");
    DecoderLayer args{};
    args.B = x.dim(0), args.D = x.dim(1);
    args.cache = describeCache(keys, values, kvHeads, length, args.B, positions);
    const int64_t C = args.cache.C;
    require(cos.size() == args.B * C / 2 && sin.size() == cos.size(), "decoder layer: the angles do not fit");

    std::vector<Tensor> weights;
    for (int index = 6; index < call.inputs(); index++) weights.push_back(call.input(index));
    require(weights.size() == 9u + (biases ? 3 : 0) + (headNorms ? 2 : 0), "decoder layer: weights are missing");
    args.H = weights[1].dim(0) / C;
    args.F = weights[6].dim(0);
    const int64_t D = args.D, Q = args.H * C, KV = kvHeads * C;
    size_t next = 0;
    const auto take = [&](int64_t size) {
      require(weights[next].size() == size, "decoder layer: a weight has another size than expected");
      return weights[next++].floats();
    };
    args.inputNorm = take(D), args.q = take(Q * D), args.k = take(KV * D), args.v = take(KV * D);
    args.o = take(D * Q), args.postNorm = take(D), args.gate = take(args.F * D), args.up = take(args.F * D);
    args.down = take(D * args.F);
    if (biases) args.qBias = take(Q), args.kBias = take(KV), args.vBias = take(KV);
    if (headNorms) args.qNorm = take(C), args.kNorm = take(C);

    const Tensor y = call.output(0, x.shape());
    args.x = x.floats(), args.cos = cos.floats(), args.sin = sin.floats(), args.positions = positions.ints();
    args.y = y.floats(), args.scale = scale, args.epsilon = epsilon;
    const int64_t lanes = math().lanes;
    const double cost = 0.02 * lanes * (2.0 * Q * D + 2.0 * KV * D + 3.0 * args.F * D);
    share((args.B + lanes - 1) / lanes, cost, [&](int64_t begin, int64_t end) {
      math().decoderLayer(args, begin, end, scratch(math().decoderScratch(args)));
    });
    call.forward(1, keys);
    call.forward(2, values);
  }
};

struct DrawKernel {
  static OpDefinition op() {
    return {"TinyzeroDraw",
            {"logits: float", "uniforms: float", "scale: float"},
            {"tokens: int32", "log_probs: float"},
            {}};
  }
  explicit DrawKernel(const Attributes &) {}

  void compute(const Call &call) const {
    const Tensor logits = call.input(0), uniforms = call.input(1), scale = call.input(2);
    const int64_t rows = logits.rows(), V = logits.dim(-1);
    require(V > 0 && uniforms.size() == rows, "draw: one number per row is needed");
    const Tensor tokens = call.output(0, {rows}, TF_INT32), logProbs = call.output(1, {rows});
    const Draw args{logits.floats(), uniforms.floats(), tokens.ints(), logProbs.floats(), V, scale.scalar()};
    share(rows, 3.0 * V, [&](int64_t begin, int64_t end) { math().draw(args, begin, end, scratch(V)); });
  }
};

} // namespace

std::vector<const char *> registerDecodingOps() {
  return {registerKernel<CachedAttentionKernel>(), registerKernel<DecoderLayerKernel>(), registerKernel<DrawKernel>()};
}
