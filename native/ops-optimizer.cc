/** @file AdamW in place, sums of squares for a global norm, and clearing of state. */
#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "ops.h"
#include "parallel.h"
#include "tensorflow.h"

namespace {

struct AdamWKernel {
  float beta1, beta2;
  bool decays;

  static OpDefinition op() {
    return {"TinyzeroAdamW",
            {"parameter: float", "m: float", "v: float", "gradient: float", "scale: float", "learning_rate: float",
             "beta1_power: float", "beta2_power: float", "epsilon: float", "decay: float"},
            {"new_parameter: float", "new_m: float", "new_v: float"},
            {"beta1: float", "beta2: float", "decays: bool"},
            true};
  }
  explicit AdamWKernel(const Attributes &attributes)
      : beta1(attributes.number("beta1")), beta2(attributes.number("beta2")), decays(attributes.flag("decays")) {}

  void compute(const Call &call) const {
    const Tensor states[] = {call.input(0), call.input(1), call.input(2)};
    const Tensor gradient = call.input(3);
    const auto scalar = [&call](int index) { return call.input(index).scalar(); };
    const int64_t size = gradient.size();
    for (const Tensor &state : states) {
      require(state.size() == size, "AdamW: expected parameter, m and v of the gradient's size ", gradient, ", found ",
              state);
    }
    const float rate = scalar(5) * std::sqrt(1.0f - scalar(7)) / (1.0f - scalar(6));
    const AdamW args{states[0].floats(),
                     states[1].floats(),
                     states[2].floats(),
                     gradient.floats(),
                     beta1,
                     beta2,
                     scalar(4),
                     rate,
                     scalar(8),
                     decays ? scalar(9) : 0.0f};
    const int64_t lanes = math().lanes;
    share((size + lanes - 1) / lanes, 0.7 * lanes,
          [&](int64_t begin, int64_t end) { math().adamW(args, begin * lanes, std::min(end * lanes, size)); });
    for (int index = 0; index < 3; index++) call.forward(index, states[index]);
  }
};

struct SumOfSquaresKernel {
  static OpDefinition op() { return {"TinyzeroSumOfSquares", {"x: float"}, {"sum: float"}, {}}; }
  explicit SumOfSquaresKernel(const Attributes &) {}

  void compute(const Call &call) const {
    // Fixed, so that sums do not depend on the number of threads.
    constexpr int64_t chunkSize = 4096;
    const Tensor x = call.input(0);
    const int64_t chunks = (x.size() + chunkSize - 1) / chunkSize;
    std::vector<float> sums(chunks);
    const SumOfSquares args{x.floats(), sums.data(), x.size(), chunkSize};
    share(chunks, 0.2 * chunkSize, [&](int64_t begin, int64_t end) { math().sumOfSquares(args, begin, end); });
    double total = 0;
    for (const float each : sums) total += each;
    *call.output(0, {}).floats() = static_cast<float>(total);
  }
};

/**
 * Sets memory to zeros. On Linux, whole pages are returned to the system, which supplies zeros when they are next used:
 * a tensor's memory is private to the process and belongs to no file.
 */
void clear(char *data, size_t bytes) {
#ifdef __linux__
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), start = reinterpret_cast<uintptr_t>(data);
  const size_t before = (page - start % page) % page;
  const size_t whole = bytes < before ? 0 : (bytes - before) / page * page;
  if (whole > 0 && madvise(data + before, whole, MADV_DONTNEED) == 0) {
    memset(data, 0, before);
    memset(data + before + whole, 0, bytes - before - whole);
    return;
  }
#endif
  memset(data, 0, bytes);
}

struct ClearKernel {
  static OpDefinition op() { return {"TinyzeroClear", {"state: float"}, {"zeros: float"}, {}, true}; }
  explicit ClearKernel(const Attributes &) {}

  void compute(const Call &call) const {
    const Tensor state = call.input(0);
    clear(reinterpret_cast<char *>(state.floats()), sizeof(float) * state.size());
    call.forward(0, state);
  }
};

} // namespace

std::vector<const char *> registerOptimizerOps() {
  return {registerKernel<AdamWKernel>(), registerKernel<SumOfSquaresKernel>(), registerKernel<ClearKernel>()};
}
