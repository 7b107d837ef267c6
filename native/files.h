/** @file System calls that Node lacks, for JavaScript. */
#pragma once
#include "javascript.h"

/** Adds the function `reserve` to `exports` on systems that have one. */
void exportFiles(const Js &js, napi_value exports);
