/** @file Runs graphs for JavaScript. */
#pragma once
#include "javascript.h"

/** Adds `load`, `prepare`, `run`, `start` and `close` to `exports`; src/engine/native.ts has their types. */
void exportSessions(const Js &js, napi_value exports);
