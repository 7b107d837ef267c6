/** @file SwiGLU (Shazeer, arXiv 2002.05202), silu(gate) * up element by element, and its gradient. */
#pragma once
#include "../kernels.h"
#include "vector.h"

static void swiglu(const Swiglu &s, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i += lanes) {
    const int64_t left = end - i;
    const Floats gate = loadPart(s.gate + i, left, 0.0f);
    storePart(s.y + i, gate * (sigmoid(gate) * loadPart(s.up + i, left, 0.0f)), left);
  }
}

static void swigluGradient(const SwigluGradient &s, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i += lanes) {
    const int64_t left = end - i;
    const Floats dy = loadPart(s.dy + i, left, 0.0f);
    const Floats gate = loadPart(s.gate + i, left, 0.0f);
    const Floats open = sigmoid(gate);
    const Floats silu = gate * open;
    // silu' = sigmoid + silu * (1 - sigmoid)
    storePart(s.dGate + i, dy * loadPart(s.up + i, left, 0.0f) * (open + silu * (1.0f - open)), left);
    storePart(s.dUp + i, dy * silu, left);
  }
}
