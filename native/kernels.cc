/**
 * @file The addon that brings TensorFlow kernels of our own: loading it registers them, and it exports their names,
 * the instruction set that they use and what runs graphs. It must be loaded into a process that has TensorFlow, once.
 */
#include <exception>
#include <vector>

#include "ops.h"
#include "sessions.h"

const Math &math() {
#if defined(__x86_64__)
  static const Math &best = []() -> const Math & {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd")) {
      return avx512Math;
    }
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2Math : baselineMath;
  }();
  return best;
#else
  return baselineMath;
#endif
}

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
    for (const auto &topic : {registerLayerOps, registerAttentionOps, registerOptimizerOps, registerDecodingOps}) {
      for (const char *name : topic()) ops.push_back(js.text(name));
    }
    js.set(exports, "ops", js.array(ops));
    js.set(exports, "instructions", js.text(math().name));
    exportSessions(js, exports);
  } catch (const std::exception &error) {
    napi_throw_error(env, nullptr, error.what());
  }
  return exports;
}

} // namespace

NAPI_MODULE(kernels, init)
