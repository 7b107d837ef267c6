/**
 * @file Factors of bfloat16 as words of two terms each, for the instruction that multiplies and adds both
 * (AVX-512-BF16). It rounds each addition to the nearest float and treats subnormal terms as zeros.
 */
#pragma once
#if defined(__AVX512BF16__)
#include "../kernels.h"
#include "vector.h"

/** 16 floats as bfloat16 in the lower halves of 16 words; those not in `mask` are zero. */
static inline __m512i narrowFloats(const float *from, __mmask16 mask) {
  return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from)));
}

/** `count` contiguous elements from `offset` on, in the lower halves of 16 words; the others are zero. */
static inline __m512i readSideBySide(const Factor &f, int64_t offset, int64_t count) {
  const __mmask16 mask = count >= 16 ? 0xffff : (1u << count) - 1;
  if (!f.narrow) return narrowFloats(static_cast<const float *>(f.data) + offset, mask);
  return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, static_cast<const uint16_t *>(f.data) + offset));
}

/** 16 words of contiguous terms from `offset` on; the first `count` terms exist. */
static inline __m512i readTerms(const Factor &f, int64_t offset, int64_t count) {
  const __mmask32 mask = count >= 32 ? ~0u : (1u << (count > 0 ? count : 0)) - 1;
  if (f.narrow) return _mm512_maskz_loadu_epi16(mask, static_cast<const uint16_t *>(f.data) + offset);
  const float *from = static_cast<const float *>(f.data) + offset;
  const __m512 low = _mm512_maskz_loadu_ps((__mmask16)mask, from);
  const __m512 high = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), from + 16);
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/** Transposes 16 x 16 words. */
static inline void transposeWords(__m512i (&r)[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int j = 0; j < 2; j++) {
      r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + 2 + j]);
      r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + 2 + j]);
    }
  }
  // Now r[4 * g + c] holds, of rows 4 * g to 4 * g + 3, column c + 4 * q in its q-th quarter.
  for (int c = 0; c < 4; c++) {
    const __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88), b = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
    const __m512i d = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd), e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
    t[c] = _mm512_shuffle_i32x4(a, b, 0x88);
    t[8 + c] = _mm512_shuffle_i32x4(a, b, 0xdd);
    t[4 + c] = _mm512_shuffle_i32x4(d, e, 0x88);
    t[12 + c] = _mm512_shuffle_i32x4(d, e, 0xdd);
  }
  for (int i = 0; i < 16; i++) r[i] = t[i];
}

/** Two terms of a factor per word, the first in the lower half. */
struct Pairs {
  static const int64_t terms = 2;
  static const bool narrow = true;

  static inline Floats add(Floats sum, const char *factor, Floats columns) {
    int32_t word;
    memcpy(&word, factor, sizeof word);
    return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(word), (__m512bh)columns);
  }

  /** Words `begin` to `end` of `rows` rows from `first` on as `[end - begin, width]`, padded with zeros. */
  static void pack(const Factor &f, int64_t first, int64_t rows, int64_t width, int64_t begin, int64_t end, int64_t K,
                   float *to) {
    for (int64_t i = 0; i < width; i += lanes) {
      const int64_t columns = width - i < lanes ? width - i : lanes, count = rows - i < columns ? rows - i : columns;
      const __mmask16 mask = (1u << columns) - 1;
      if (f.row == 1) packAcross(f, first + i, count > 0 ? count : 0, width, begin, end, K, mask, to + i);
      else packAlong(f, first + i, count > 0 ? count : 0, width, begin, end, K, mask, to + i);
    }
  }

private:
  /** If rows are contiguous. */
  static inline void packAcross(const Factor &f, int64_t first, int64_t count, int64_t width, int64_t begin,
                                int64_t end, int64_t K, __mmask16 mask, float *to) {
    for (int64_t k = 2 * begin; k < 2 * end; k += 2, to += width) {
      __m512i words = readSideBySide(f, first + k * f.column, count);
      if (k + 1 < K) {
        const __m512i second = readSideBySide(f, first + (k + 1) * f.column, count);
        words = _mm512_or_epi32(words, _mm512_slli_epi32(second, 16));
      }
      _mm512_mask_storeu_epi32(to, mask, words);
    }
  }

  /** If the terms of a row are contiguous. */
  static inline void packAlong(const Factor &f, int64_t first, int64_t count, int64_t width, int64_t begin, int64_t end,
                               int64_t K, __mmask16 mask, float *to) {
    for (int64_t k = begin; k < end; k += 16) {
      __m512i words[16];
      for (int64_t i = 0; i < 16; i++) {
        words[i] = i < count ? readTerms(f, (first + i) * f.row + 2 * k, K - 2 * k) : _mm512_setzero_si512();
      }
      transposeWords(words);
      const int64_t left = end - k < 16 ? end - k : 16;
      for (int64_t j = 0; j < left; j++) _mm512_mask_storeu_epi32(to + (k - begin + j) * width, mask, words[j]);
    }
  }
};
#endif
