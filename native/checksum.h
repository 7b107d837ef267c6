/** @file CRC-32 for JavaScript. */
#pragma once
#include "javascript.h"

/** Gives `exports` the function `crc32` if a processor with `instructions` has one that is faster than zlib's. */
void exportChecksum(const Js &js, napi_value exports, const std::string &instructions);
