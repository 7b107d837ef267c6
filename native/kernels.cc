/**
 * @file The addon that brings TensorFlow kernels of our own: loading it registers them, and it exports their names,
 * the instruction set that they use and what runs graphs. It must be loaded into a process that has TensorFlow, once.
 */
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "ops.h"
#include "sessions.h"

namespace {

struct InstructionSet {
  const char *name;
  const Math *math;
  /** Whether TensorFlow has instructions for products of bfloat16. */
  bool bfloat16;
};

/** Those that this processor can run, the best last. */
std::vector<InstructionSet> supported() {
  std::vector<InstructionSet> sets{{"baseline", &baselineMath, false}};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return sets;
  sets.push_back({"avx2", &avx2Math, false});
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512cd")) {
    return sets;
  }
  sets.push_back({"avx512", &avx512Math, false});
  if (__builtin_cpu_supports("avx512bf16")) sets.push_back({"avx512bf16", &avx512Math, true});
#endif
  return sets;
}

/** The best one, or the one that TINYZERO_CPU names; a better one than the processor has counts as its best. */
InstructionSet choose() {
  const std::vector<InstructionSet> sets = supported();
  const char *limit = std::getenv("TINYZERO_CPU");
  if (limit == nullptr || *limit == '\0') return sets.back();
  for (const InstructionSet &set : sets) {
    if (std::strcmp(set.name, limit) == 0) return set;
  }
  for (const char *better : {"avx2", "avx512", "avx512bf16"}) {
    if (std::strcmp(better, limit) == 0) return sets.back();
  }
  throw std::runtime_error(std::string("TINYZERO_CPU is \"") + limit +
                           "\"; expected baseline, avx2, avx512 or avx512bf16");
}

const InstructionSet &chosen() {
  static const InstructionSet set = choose();
  return set;
}

} // namespace

const Math &math() { return *chosen().math; }

float *scratch(int64_t size) {
  thread_local std::vector<float> memory;
  if (static_cast<int64_t>(memory.size()) < size) memory.resize(size);
  return memory.data();
}

namespace {

napi_value init(napi_env env, napi_value exports) {
  try {
    const Js js(env);
    std::vector<napi_value> ops;
    for (const auto &topic : {registerLayerOps, registerProductOps, registerAttentionOps, registerOptimizerOps,
                              registerDecodingOps}) {
      for (const char *name : topic()) ops.push_back(js.text(name));
    }
    js.set(exports, "ops", js.array(ops));
    js.set(exports, "instructions", js.text(chosen().name));
    js.set(exports, "bfloat16", js.boolean(chosen().bfloat16));
    exportSessions(js, exports);
  } catch (const std::exception &error) {
    napi_throw_error(env, nullptr, error.what());
  }
  return exports;
}

} // namespace

NAPI_MODULE(kernels, init)
