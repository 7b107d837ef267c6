/** @file Decoding with a cache: attention, whole decoder layers, drawing tokens. */
#include <algorithm>

#include "ops.h"
#include "parallel.h"
#include "tensorflow.h"

namespace {

/** The cache `[(slots) * K * S, C]`, for `rows` slots at `positions`. */
Cache describeCache(const Tensor &keys, const Tensor &values, int64_t K, int64_t S, int64_t rows,
                    const Tensor &positions) {
  require(K > 0 && S > 0, "cached attention: expected kv_heads and length above 0, found ", K, " and ", S);
  require(keys.shape() == values.shape() && keys.rank() == 2 && keys.dim(0) >= rows * K * S && keys.dim(1) > 0,
          "cached attention: expected keys and values [at least ", rows * K * S, ", above 0], found ", keys, " and ",
          values);
  for (int64_t i = 0; i < positions.size(); i++) {
    const int32_t position = positions.ints()[i];
    require(position >= 0 && position < S, "cached attention: expected positions from 0 to ", S - 1, ", found ",
            position);
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
    require(q.rank() == 4, "cached attention: expected q [B, T, H, C], found ", q);
    const int64_t B = q.dim(0), T = q.dim(1), H = q.dim(2), C = q.dim(3);
    require(positions.size() == T || positions.size() == B * T,
            "cached attention: expected positions [T] or [B, T] for q [B, T, H, C]; found positions ", positions,
            ", q ", q);
    const Cache cache = describeCache(keys, values, kvHeads, length, B, positions);
    require(cache.C == C && H % kvHeads == 0, "cached attention: expected q [B, T, H, C] with C = ", cache.C,
            " and H a multiple of ", kvHeads, ", found ", q);
    const Tensor out = call.output(0, {B, T, H * C});
    const CachedAttention args{q.floats(), positions.ints(), out.floats(), cache, T, H, positions.size(), scale};
    share(B * T, 0.2 * length * H * C, [&](int64_t begin, int64_t end) {
      math().cachedAttention(args, begin, end, scratch(math().attendScratch(cache)));
    });
  }
};

struct DecoderLayersKernel {
  float scale, epsilon;
  int64_t kvHeads, length, layers;
  bool biases, headNorms;

  static OpDefinition op() {
    return {"TinyzeroDecoderLayers",
            {"x: float", "cos: float", "sin: float", "positions: int32", "keys: layers * float",
             "values: layers * float", "weights: count * float"},
            {"y: float", "new_keys: layers * float", "new_values: layers * float"},
            {"scale: float", "epsilon: float", "kv_heads: int", "length: int", "biases: bool", "head_norms: bool",
             "layers: int", "count: int"},
            true};
  }
  explicit DecoderLayersKernel(const Attributes &attributes)
      : scale(attributes.number("scale")), epsilon(attributes.number("epsilon")),
        kvHeads(attributes.integer("kv_heads")), length(attributes.integer("length")),
        layers(attributes.integer("layers")), biases(attributes.flag("biases")),
        headNorms(attributes.flag("head_norms")) {}

  void compute(const Call &call) const {
    const Tensor x = call.input(0), cos = call.input(1), sin = call.input(2), positions = call.input(3);
    require(x.rank() == 2 && positions.size() == x.dim(0),
            "decoder layers: expected x [B, D] and positions [B], found ", x, " and ", positions);
    require(layers > 0 && kvHeads > 0, "decoder layers: expected layers and kv_heads above 0, found ", layers, " and ",
            kvHeads);
    require(call.inputs() >= 4 + 2 * layers, "decoder layers: expected keys and values of ", layers, " layers, found ",
            call.inputs() - 4, " tensors");
    const Tensor y = call.output(0, x.shape());
    std::vector<Tensor> keys, values, weights;
    std::vector<DecoderLayer> steps;
    int next = 4;
    for (int64_t layer = 0; layer < layers; layer++) keys.push_back(call.input(next++));
    for (int64_t layer = 0; layer < layers; layer++) values.push_back(call.input(next++));
    for (int64_t layer = 0; layer < layers; layer++) {
      DecoderLayer step{};
      step.B = x.dim(0), step.D = x.dim(1);
      step.cache = describeCache(keys[layer], values[layer], kvHeads, length, step.B, positions);
      require(step.cache.C % 2 == 0, "decoder layers: expected heads of an even width, found ", step.cache.C);
      const int64_t half = step.cache.C / 2;
      require(cos.size() == step.B * half && sin.size() == cos.size(), "decoder layers: expected cos and sin ",
              Shape{step.B, half}, ", found ", cos, " and ", sin);
      // The first layer reads x. Each block of rows is read before it is written, so the other layers work in y.
      step.x = layer == 0 ? x.floats() : y.floats(), step.y = y.floats();
      step.cos = cos.floats(), step.sin = sin.floats(), step.positions = positions.ints();
      step.scale = scale, step.epsilon = epsilon;
      takeWeights(call, next, step, weights);
      steps.push_back(step);
    }
    require(next == call.inputs(), "decoder layers: expected ", next, " inputs, found ", call.inputs());

    // Each thread takes its rows through all layers; threads synchronise once.
    const DecoderLayer &step = steps[0];
    const int64_t lanes = math().lanes, Q = step.H * step.cache.C, KV = kvHeads * step.cache.C;
    const int64_t vectors = (step.B + lanes - 1) / lanes;
    const int64_t unit = std::min<int64_t>(4, (vectors + threadCount() - 1) / threadCount());
    const double cost = 0.02 * unit * lanes * layers * (2.0 * Q * step.D + 2.0 * KV * step.D + 3.0 * step.F * step.D);
    share((vectors + unit - 1) / unit, cost, [&](int64_t begin, int64_t end) {
      for (const DecoderLayer &each : steps) {
        math().decoderLayer(each, begin * unit, std::min(end * unit, vectors), scratch(math().decoderScratch(each)));
      }
    });
    for (int64_t layer = 0; layer < layers; layer++) {
      call.forward(static_cast<int>(1 + layer), keys[layer]);
      call.forward(static_cast<int>(1 + layers + layer), values[layer]);
    }
  }

private:
  /** The weights of one layer from input `next` on, in the order of src/engine/ops/decoding-ops.ts. */
  void takeWeights(const Call &call, int &next, DecoderLayer &step, std::vector<Tensor> &kept) const {
    const int64_t C = step.cache.C, D = step.D, KV = kvHeads * C;
    require(next + 9 <= call.inputs(), "decoder layers: expected 9 or more weights for each layer, found ",
            call.inputs() - next, " for one");
    step.H = call.input(next + 1).dim(0) / C;
    step.F = call.input(next + 6).dim(0);
    const int64_t Q = step.H * C;
    require(step.H > 0 && step.H % kvHeads == 0,
            "decoder layers: expected a number of query heads that is a multiple of ", kvHeads, ", found ", step.H);
    const auto take = [&](int64_t size) {
      require(next < call.inputs(), "decoder layers: expected more than ", call.inputs(), " inputs");
      kept.push_back(call.input(next++));
      require(kept.back().size() == size, "decoder layers: expected a weight of ", size, " numbers, found ",
              kept.back());
      return kept.back().floats();
    };
    step.inputNorm = take(D), step.q = take(Q * D), step.k = take(KV * D), step.v = take(KV * D);
    step.o = take(D * Q), step.postNorm = take(D), step.gate = take(step.F * D), step.up = take(step.F * D);
    step.down = take(D * step.F);
    if (biases) step.qBias = take(Q), step.kBias = take(KV), step.vBias = take(KV);
    if (headNorms) step.qNorm = take(C), step.kNorm = take(C);
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
    require(V > 0 && uniforms.size() == rows, "draw: expected logits [N, V] with V above 0 and uniforms [N], found ",
            logits, " and ", uniforms);
    const Tensor tokens = call.output(0, {rows}, TF_INT32), logProbs = call.output(1, {rows});
    const Draw args{logits.floats(), uniforms.floats(), tokens.ints(), logProbs.floats(), V, scale.scalar()};
    share(rows, 3.0 * V, [&](int64_t begin, int64_t end) { math().draw(args, begin, end, scratch(V)); });
  }
};

} // namespace

std::vector<const char *> registerDecodingOps() {
  return {registerKernel<CachedAttentionKernel>(), registerKernel<DecoderLayersKernel>(), registerKernel<DrawKernel>()};
}
