// Row kernels of the renderer. Samples are int16, 1/128 level, centred: (level - 128) * 128. Counts are
// multiples of kLanes, so that the loops have no tail; buffers are padded to that.
#pragma once

#include <algorithm>
#include <cstring>

#include "core/common.hpp"
#include "core/render/points.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace yf {

constexpr int kLanes = 32;

constexpr int padded(int count) { return (count + kLanes - 1) / kLanes * kLanes; }

// round(a * b / 32768) in a form that compilers know as one instruction (pmulhrsw, sqrdmulh)
inline std::int16_t scale(std::int16_t a, std::int16_t b) {
    return static_cast<std::int16_t>((((static_cast<std::int32_t>(a) * b) >> 14) + 1) >> 1);
}

// Two neighbouring bytes per pixel, low byte first, to their blend; weight of the second.
YF_MULTIVERSION
inline void lerp_pairs(const std::uint16_t* __restrict pairs, const std::int16_t* __restrict weight,
                       int count, std::int16_t* __restrict out) {
    for (std::ptrdiff_t at = 0; at < count; at += kLanes)
        for (int k = 0; k < kLanes; ++k) {
            const std::ptrdiff_t i = at + k;
            const std::int16_t first = static_cast<std::int16_t>((pairs[i] & 0xFF) << 7);
            const std::int16_t second = static_cast<std::int16_t>((pairs[i] >> 8) << 7);
            const std::int16_t step = static_cast<std::int16_t>(second - first);
            out[i] = static_cast<std::int16_t>(first + scale(step, weight[i]) - 16384);
        }
}

// Blend of two rows with one weight.
YF_MULTIVERSION
inline void lerp_rows(const std::int16_t* __restrict a, const std::int16_t* __restrict b, std::int16_t weight,
                      int count, std::int16_t* __restrict out) {
    for (std::ptrdiff_t at = 0; at < count; at += kLanes)
        for (int k = 0; k < kLanes; ++k) {
            const std::ptrdiff_t i = at + k;
            out[i] = static_cast<std::int16_t>(a[i] + scale(static_cast<std::int16_t>(b[i] - a[i]), weight));
        }
}

// Blend of four neighbours, each 0..255: upper two, lower two.
inline std::int16_t lerp_four(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d,
                              std::int16_t across, std::int16_t down) {
    const auto fixed = [](std::uint32_t level) { return static_cast<std::int16_t>(level << 7); };
    const auto blend = [](std::int16_t from, std::int16_t to, std::int16_t weight) {
        return static_cast<std::int16_t>(from + scale(static_cast<std::int16_t>(to - from), weight));
    };
    const std::int16_t upper = blend(fixed(a), fixed(b), across), lower = blend(fixed(c), fixed(d), across);
    return static_cast<std::int16_t>(blend(upper, lower, down) - 16384);
}

// The four neighbours of each pixel, as an upper and a lower pair, to their blend.
YF_MULTIVERSION
inline void lerp_quads(const std::uint16_t* __restrict upper, const std::uint16_t* __restrict lower,
                       const std::int16_t* __restrict across, const std::int16_t* __restrict down, int count,
                       std::int16_t* __restrict out) {
    for (std::ptrdiff_t at = 0; at < count; at += kLanes)
        for (int k = 0; k < kLanes; ++k) {
            const std::ptrdiff_t i = at + k;
            const std::uint16_t a = upper[i], b = lower[i];
            out[i] = lerp_four(a & 0xFF, a >> 8, b & 0xFF, b >> 8, across[i], down[i]);
        }
}

// The same for Cb and Cr side by side: the bytes of a word are Cb, Cr, and the next pixel's Cb, Cr.
YF_MULTIVERSION
inline void lerp_chroma(const std::uint32_t* __restrict upper, const std::uint32_t* __restrict lower,
                        const std::int16_t* __restrict across, const std::int16_t* __restrict down, int count,
                        std::int16_t* __restrict cb, std::int16_t* __restrict cr) {
    for (std::ptrdiff_t at = 0; at < count; at += kLanes)
        for (int k = 0; k < kLanes; ++k) {
            const std::ptrdiff_t i = at + k;
            const std::uint32_t a = upper[i], b = lower[i];
            cb[i] = lerp_four(a & 0xFF, a >> 16 & 0xFF, b & 0xFF, b >> 16 & 0xFF, across[i], down[i]);
            cr[i] = lerp_four(a >> 8 & 0xFF, a >> 24, b >> 8 & 0xFF, b >> 24, across[i], down[i]);
        }
}

YF_MULTIVERSION
inline void interleave_row(const std::uint8_t* __restrict first, const std::uint8_t* __restrict second,
                           int count, std::uint8_t* __restrict out) {
    for (std::ptrdiff_t i = 0; i < count; ++i) {
        out[2 * i] = first[i];
        out[2 * i + 1] = second[i];
    }
}

// ---------------------------------------------------------------------------------- fetching neighbours

// The pair (source[index], source[index + 1]) of each pixel. Groups of 8 or 4 pixels whose bytes all lie
// within 16 of base[k] take one load and one byte shuffle each; `shuffle` has 16 entries a group. It is
// written by hand because GCC lowers a generic byte shuffle before it makes the clones of YF_MULTIVERSION.
inline std::uint16_t pair_at(const std::uint8_t* p) {
    return static_cast<std::uint16_t>(p[0] | p[1] << 8);  // one 16-bit load where that is the byte order
}

inline void fetch_each(const std::uint8_t* source, const std::int32_t* index, int count, std::uint16_t* out) {
    for (int i = 0; i < count; ++i) out[i] = pair_at(source + index[i]);
}

#if defined(__x86_64__)
inline bool has_wide_shuffle() { return __builtin_cpu_supports("avx2"); }

// Fetches groups of 8 and blends them in registers: `lerp_pairs` after `fetch_groups<8>`, 16 pixels a step.
__attribute__((target("avx2"))) inline void sample_groups(const std::uint8_t* source,
                                                          const std::int32_t* base,
                                                          const std::uint8_t* shuffle,
                                                          const std::int16_t* weight, int count,
                                                          std::int16_t* out) {
    const __m256i centre = _mm256_set1_epi16(16384);
    for (std::ptrdiff_t i = 0; i < count; i += 16) {
        const auto* low = reinterpret_cast<const __m128i*>(source + base[i / 8]);
        const auto* high = reinterpret_cast<const __m128i*>(source + base[i / 8 + 1]);
        const __m256i bytes =
            _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(low)), _mm_loadu_si128(high), 1);
        const __m256i pick = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(shuffle + 2 * i));
        const __m256i pairs = _mm256_shuffle_epi8(bytes, pick);
        const __m256i first = _mm256_srli_epi16(_mm256_slli_epi16(pairs, 8), 1);
        const __m256i second = _mm256_slli_epi16(_mm256_srli_epi16(pairs, 8), 7);
        const __m256i share = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight + i));
        const __m256i step = _mm256_mulhrs_epi16(_mm256_sub_epi16(second, first), share);
        const __m256i blend = _mm256_sub_epi16(_mm256_add_epi16(first, step), centre);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), blend);
    }
}

inline bool has_byte_shuffle() { return __builtin_cpu_supports("ssse3"); }

template <int group>
__attribute__((target("ssse3"))) inline void fetch_groups(const std::uint8_t* source,
                                                          const std::int32_t* base,
                                                          const std::uint8_t* shuffle, int count,
                                                          std::uint16_t* out) {
    for (int k = 0; k < count / group; ++k) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + base[k]));
        const __m128i pick = _mm_loadu_si128(reinterpret_cast<const __m128i*>(shuffle + 16 * k));
        const __m128i pairs = _mm_shuffle_epi8(bytes, pick);
        if constexpr (group == 8)
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 8 * k), pairs);
        else
            _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 4 * k), pairs);
    }
}
#elif defined(__aarch64__)
inline bool has_wide_shuffle() { return false; }
inline void sample_groups(const std::uint8_t*, const std::int32_t*, const std::uint8_t*, const std::int16_t*,
                          int, std::int16_t*) {}

inline bool has_byte_shuffle() { return true; }

template <int group>
inline void fetch_groups(const std::uint8_t* source, const std::int32_t* base, const std::uint8_t* shuffle,
                         int count, std::uint16_t* out) {
    for (int k = 0; k < count / group; ++k) {
        const uint8x16_t pairs = vqtbl1q_u8(vld1q_u8(source + base[k]), vld1q_u8(shuffle + 16 * k));
        if constexpr (group == 8)
            vst1q_u16(out + 8 * k, vreinterpretq_u16_u8(pairs));
        else
            vst1_u16(out + 4 * k, vget_low_u16(vreinterpretq_u16_u8(pairs)));
    }
}
#else
inline bool has_wide_shuffle() { return false; }
inline void sample_groups(const std::uint8_t*, const std::int32_t*, const std::uint8_t*, const std::int16_t*,
                          int, std::int16_t*) {}
inline bool has_byte_shuffle() { return false; }

template <int group>
inline void fetch_groups(const std::uint8_t*, const std::int32_t*, const std::uint8_t*, int, std::uint16_t*) {
}
#endif

}  // namespace yf
