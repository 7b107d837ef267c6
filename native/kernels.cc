/**
 * @file The addon that brings TensorFlow kernels of our own: loading it registers them, and it exports their names and
 * the instruction set that they use. It must be loaded into a process that has TensorFlow, once.
 */
#include <node_api.h>

#include <exception>
#include <string>
#include <vector>

#include "ops.h"

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

napi_value text(napi_env env, const char *value) {
  napi_value result = nullptr;
  napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &result);
  return result;
}

napi_value init(napi_env env, napi_value exports) {
  try {
    napi_value ops = nullptr;
    napi_create_array(env, &ops);
    uint32_t count = 0;
    for (const auto &topic : {registerLayerOps, registerAttentionOps, registerOptimizerOps, registerDecodingOps}) {
      for (const char *name : topic()) napi_set_element(env, ops, count++, text(env, name));
    }
    napi_set_named_property(env, exports, "ops", ops);
    napi_set_named_property(env, exports, "instructions", text(env, math().name));
  } catch (const std::exception &error) {
    napi_throw_error(env, nullptr, error.what());
  }
  return exports;
}

} // namespace

NAPI_MODULE(kernels, init)
