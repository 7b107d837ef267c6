/** @file The ops by topic; each function registers some and returns their names. */
#pragma once
#include <vector>

#include "kernels.h"

/** The arithmetic for this processor. */
const Math &math();

/** A scratch of at least `size` floats that this thread may use until its next call. */
float *scratch(int64_t size);

std::vector<const char *> registerLayerOps();
std::vector<const char *> registerProductOps();
std::vector<const char *> registerAttentionOps();
std::vector<const char *> registerOptimizerOps();
std::vector<const char *> registerDecodingOps();
std::vector<const char *> registerClusterOps();
std::vector<const char *> registerByteOps();
