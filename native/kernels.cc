/**
 * @file The addon with tinyzero's TensorFlow kernels. Loading it registers them. It exports their names and instruction
 * set, a checksum, a file operation that Node lacks, and the functions that run graphs. A process loads it once, after
 * TensorFlow.
 */
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "checksum.h"
#include "cluster.h"
#include "files.h"
#include "ops.h"
#include "sessions.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace {

struct InstructionSet {
  const char *name;
  const Math *math;
};

#if defined(__x86_64__)
/** Whether CPUID leaf 7 (extended features) has these bits. Older compilers have no names for them. */
bool hasFeature(unsigned subleaf, unsigned eaxBit, unsigned edxBit) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, subleaf, &a, &b, &c, &d) != 0 && (a & eaxBit) == eaxBit && (d & edxBit) == edxBit;
}

/** Whether oneDNN may use the tiles of AMX. */
bool oneDnnMayUseTiles() {
  const char *limit = std::getenv("ONEDNN_MAX_CPU_ISA");
  if (limit == nullptr || *limit == '\0') return true;
  return std::strstr(limit, "AMX") != nullptr || std::strcmp(limit, "DEFAULT") == 0;
}
#endif

/** The instruction sets of this processor, the best last. */
std::vector<InstructionSet> supported() {
  std::vector<InstructionSet> sets{{"baseline", &baselineMath}};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return sets;
  sets.push_back({"avx2", &avx2Math});
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512cd")) {
    return sets;
  }
  sets.push_back({"avx512", &avx512Math});
  const unsigned bf16 = 1u << 5, tiles = 1u << 24 | 1u << 22;
  if (!hasFeature(1, bf16, 0) || !avx512Bf16Math.multipliesPairs) return sets;
  sets.push_back({"avx512bf16", &avx512Bf16Math});
  if (hasFeature(0, 0, tiles) && oneDnnMayUseTiles()) sets.push_back({"amx", &avx512Bf16Math});
#endif
  return sets;
}

/** The set that TINYZERO_CPU names, or the processor's best if it is unset or names a better one. */
InstructionSet choose() {
  const std::vector<InstructionSet> sets = supported();
  const char *limit = std::getenv("TINYZERO_CPU");
  if (limit == nullptr || *limit == '\0') return sets.back();
  for (const InstructionSet &set : sets) {
    if (std::strcmp(set.name, limit) == 0) return set;
  }
  for (const char *better : {"avx2", "avx512", "avx512bf16", "amx"}) {
    if (std::strcmp(better, limit) == 0) return sets.back();
  }
  throw std::runtime_error(std::string("TINYZERO_CPU: expected baseline, avx2, avx512, avx512bf16 or amx, found \"") +
                           limit + "\"");
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
                              registerDecodingOps, registerClusterOps, registerByteOps}) {
      for (const char *name : topic()) ops.push_back(js.text(name));
    }
    js.set(exports, "ops", js.array(ops));
    js.set(exports, "instructions", js.text(chosen().name));
    exportChecksum(js, exports, chosen().name);
    exportFiles(js, exports);
    exportSessions(js, exports);
    exportCluster(js, exports);
  } catch (const std::exception &error) {
    napi_throw_error(env, nullptr, error.what());
  }
  return exports;
}

} // namespace

NAPI_MODULE(kernels, init)
