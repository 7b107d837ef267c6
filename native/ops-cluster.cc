/** @file An op that reports the engine format, so that incompatible processes are detected before they compute. */
#include <thread>

#include "kernels.h"
#include "ops.h"
#include "tensorflow.h"

namespace {

/** `[2]`: the engine's format, which this file was compiled with, and the processors of the machine. */
class About {
public:
  static OpDefinition op() { return {"TinyzeroAbout", {}, {"about: int32"}, {}, true}; }

  explicit About(const Attributes &) {}

  void compute(const Call &call) const {
    int32_t *about = call.output(0, {2}, TF_INT32).ints();
    about[0] = TINYZERO_FORMAT;
    about[1] = static_cast<int32_t>(std::thread::hardware_concurrency());
  }
};

} // namespace

std::vector<const char *> registerClusterOps() { return {registerKernel<About>()}; }
