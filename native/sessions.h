/** @file Running graphs from JavaScript. */
#pragma once
#include "javascript.h"

/** Gives `exports` the functions `load`, `prepare`, `run`, `start` and `close`; src/engine/native.ts has their types. */
void exportSessions(const Js &js, napi_value exports);
