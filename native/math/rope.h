/** @file Rotary position embedding, "rotate half" layout: a position's angles rotate pairs (c, c + C/2) of each head.
 */
#pragma once
#include "../kernels.h"

/** For positions `begin` to `end` of B * T. */
static void rope(const Rope &r, int64_t begin, int64_t end) {
  const int64_t half = r.C / 2;
  for (int64_t at = begin; at < end; at++) {
    const float *__restrict cos = r.cos + at % r.angles * half;
    const float *__restrict sin = r.sin + at % r.angles * half;
    for (int64_t n = 0; n < r.N; n++) {
      const float *__restrict x = r.x + (at * r.N + n) * r.C;
      float *__restrict y = r.y + (at * r.N + n) * r.C;
      for (int64_t c = 0; c < half; c++) {
        const float turned = r.direction * sin[c];
        y[c] = x[c] * cos[c] - x[c + half] * turned;
        y[c + half] = x[c + half] * cos[c] + x[c] * turned;
      }
    }
  }
}
