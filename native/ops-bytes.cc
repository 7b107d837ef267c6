/** @file Converts matrices to rows of bytes with one scale each, and back (math/bytes.h). */
#include "ops.h"
#include "parallel.h"
#include "tensorflow.h"

namespace {

/** The shape of `tensor` with `more` columns. */
Shape widened(const Tensor &tensor, int64_t more) {
  Shape shape = tensor.shape();
  shape.back() += more;
  return shape;
}

struct QuantizeKernel {
  static OpDefinition op() { return {"TinyzeroQuantize", {"x: float"}, {"y: uint8"}, {}}; }
  explicit QuantizeKernel(const Attributes &) {}

  void compute(const Call &call) const {
    const Tensor x = call.input(0);
    require(x.rank() > 0, "quantize: expected rows of numbers, found a scalar");
    const Tensor y = call.output(0, widened(x, scaleBytes), TF_UINT8);
    const Quantize args{x.floats(), static_cast<char *>(TF_TensorData(y.get())), x.dim(-1)};
    share(x.rows(), 1.0 * args.D, [&](int64_t begin, int64_t end) { math().quantize(args, begin, end); });
  }
};

struct DequantizeKernel {
  static OpDefinition op() { return {"TinyzeroDequantize", {"x: uint8"}, {"y: float"}, {}}; }
  explicit DequantizeKernel(const Attributes &) {}

  void compute(const Call &call) const {
    const Tensor x = call.input(0);
    require(x.rank() > 0 && x.dim(-1) >= scaleBytes,
            "dequantize: expected rows of a scale (4 bytes) and numbers, found ", x);
    const Tensor y = call.output(0, widened(x, -scaleBytes));
    const Dequantize args{static_cast<const char *>(x.data()), y.floats(), y.dim(-1)};
    share(x.rows(), 0.4 * args.D, [&](int64_t begin, int64_t end) { math().dequantize(args, begin, end); });
  }
};

} // namespace

std::vector<const char *> registerByteOps() {
  return {registerKernel<QuantizeKernel>(), registerKernel<DequantizeKernel>()};
}
