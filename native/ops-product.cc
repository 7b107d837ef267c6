/**
 * @file Products of two matrices, each float32 or bfloat16, transposed or not; the result is float32. The rows of the
 * second may be bytes with scales (math/bytes.h).
 */
#include <algorithm>
#include <vector>

#include "ops.h"
#include "parallel.h"
#include "tensorflow.h"

namespace {

/** Floats of rearranged panels at a time: all threads share them in the last-level cache. */
constexpr int64_t panelFloats = 2 << 20;

/** A factor with at most this many rows always goes into the lanes: rearranging the other one would take longer. */
constexpr int64_t fewRows = 512;

/** This thread's scratch, which helper threads read; each of them writes to its own `scratch`. */
float *sharedScratch(int64_t size) {
  thread_local std::vector<float> memory;
  if (static_cast<int64_t>(memory.size()) < size) memory.resize(size);
  return memory.data();
}

void multiply(const Factor &a, const Factor &b, int64_t K, float *y) {
  const bool aInLanes = a.rows < b.rows && a.rows <= fewRows;
  MatMul args{};
  args.rows = aInLanes ? b : a, args.lanes = aInLanes ? a : b;
  args.y = y, args.K = K;
  args.yRow = aInLanes ? 1 : b.rows, args.yLane = aInLanes ? b.rows : 1;
  const int64_t panel = math().matMulPanel(args), panels = math().matMulPanels(args), unit = math().matMulRows;
  const int64_t together = std::min(panels, std::max<int64_t>(1, panelFloats / panel));
  args.panels = sharedScratch(together * panel);
  const int64_t blocks = (args.rows.rows + unit - 1) / unit;
  for (args.firstPanel = 0; args.firstPanel < panels; args.firstPanel += together) {
    args.panelCount = std::min(together, panels - args.firstPanel);
    share(args.panelCount, 1.0 * panel, [&](int64_t begin, int64_t end) { math().matMulArrange(args, begin, end); });
    share(blocks, 0.015 * unit * panel * args.panelCount,
          [&](int64_t begin, int64_t end) { math().matMul(args, begin, end, scratch(math().matMulScratch(args))); });
  }
}

struct ProductKernel {
  bool transposeA, transposeB, round;

  static OpDefinition op() {
    return {"TinyzeroProduct",
            {"a: Ta", "b: Tb"},
            {"y: float"},
            {"Ta: {float, bfloat16}", "Tb: {float, bfloat16, uint8}", "transpose_a: bool", "transpose_b: bool",
             "round: bool"}};
  }
  explicit ProductKernel(const Attributes &attributes)
      : transposeA(attributes.flag("transpose_a")), transposeB(attributes.flag("transpose_b")),
        round(attributes.flag("round")) {}

  void compute(const Call &call) const {
    const Tensor a = call.input(0), b = call.input(1);
    require(a.rank() == 2 && b.rank() == 2, "product: expected two matrices, found ", a, " and ", b);
    const int64_t K = a.dim(transposeA ? 0 : 1);
    const bool bytes = b.type() == TF_UINT8;
    require(!bytes || transposeB, "product: expected transpose_b for a matrix of bytes");
    const int64_t width = K + (bytes ? scaleBytes : 0);
    require(b.dim(transposeB ? 1 : 0) == width, "product: expected b with ", width, transposeB ? " columns" : " rows",
            ", found ", b);
    const Factor left = factor(a, !transposeA), right = factor(b, transposeB);
    const Tensor y = call.output(0, {left.rows, right.rows});
    if (K == 0) std::fill(y.floats(), y.floats() + y.size(), 0.0f);
    else if (y.size() > 0) multiply(left, right, K, y.floats());
  }

private:
  /** `termsInRows`: a row of the tensor holds the terms of one sum. */
  Factor factor(const Tensor &tensor, bool termsInRows) const {
    const int64_t width = tensor.dim(1);
    if (tensor.type() == TF_UINT8) {
      return {static_cast<const char *>(tensor.data()) + scaleBytes, tensor.dim(0), width, 1, false, false, true};
    }
    const bool narrow = tensor.type() == TF_BFLOAT16;
    const void *data = narrow ? tensor.data() : tensor.floats();
    if (termsInRows) return {data, tensor.dim(0), width, 1, narrow, round && !narrow, false};
    return {data, width, 1, width, narrow, round && !narrow, false};
  }
};

} // namespace

std::vector<const char *> registerProductOps() { return {registerKernel<ProductKernel>()}; }
