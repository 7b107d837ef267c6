/** @file CRC-32 for JavaScript. */
#pragma once
#include "javascript.h"

/** Adds the function `crc32` to `exports` if a processor with `instructions` computes it faster than zlib does. */
void exportChecksum(const Js &js, napi_value exports, const std::string &instructions);
