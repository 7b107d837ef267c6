/** @file Calls of the system that Node lacks, for JavaScript. */
#pragma once
#include "javascript.h"

/** Gives `exports` the function `reserve` where the system has one. */
void exportFiles(const Js &js, napi_value exports);
