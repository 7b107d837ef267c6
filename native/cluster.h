/** @file The functions of cluster.cc, for JavaScript. */
#pragma once
#include "javascript.h"

void exportCluster(const Js &js, napi_value exports);
