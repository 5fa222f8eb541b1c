// Row loops that widen chroma to luma's grid, to the bit as libjpeg-turbo's "fancy" upsampling does.
//
// A LINE is a row of chroma samples with one sample of context at each end: line[0] is left of the first
// wanted sample; at a picture's edge it repeats the edge sample, which makes the ends come out right without
// a special case. Counts are multiples of kGroup and buffers are padded to that, so the loops have no tail;
// the inner counts are fixed because under -fwrapv GCC vectorises no others.
#pragma once

#include <bit>
#include <cstring>

#include "core/common.hpp"

namespace yf::upsample {

constexpr int kGroup = 32;

constexpr int grouped(int count) { return (count + kGroup - 1) / kGroup * kGroup; }

// Samples that a line of `count` samples and its context occupies, read in whole groups at offsets 0 to 2.
constexpr int line_size(int count) { return grouped(count + 2) + kGroup; }

inline std::uint8_t mean_up(std::uint8_t a, std::uint8_t b) {
    return static_cast<std::uint8_t>((a + b + 1) >> 1);  // one instruction in most vector sets (pavgb)
}

inline std::uint8_t mean_down(std::uint8_t a, std::uint8_t b) {
    return static_cast<std::uint8_t>(mean_up(a, b) - ((a ^ b) & 1));
}

// (3 * near + far + 1) / 4 and (3 * near + far + 2) / 4, rounded down, without leaving 8 bits.
inline std::uint8_t quarter_1(std::uint8_t near, std::uint8_t far) {
    return mean_down(near, mean_up(near, far));
}
inline std::uint8_t quarter_2(std::uint8_t near, std::uint8_t far) {
    return mean_up(near, mean_down(near, far));
}

// Stores two neighbouring bytes at once.
inline void store_pair(std::uint8_t* out, std::uint32_t first, std::uint32_t second) {
    const bool little = std::endian::native == std::endian::little;
    const auto pair = static_cast<std::uint16_t>(little ? first | second << 8 : first << 8 | second);
    std::memcpy(out, &pair, sizeof pair);
}

// Twice as wide: each new sample lies a quarter of the way to its outer neighbour.
YF_MULTIVERSION
inline void triangle_across(const std::uint8_t* __restrict line, int count, std::uint8_t* __restrict out) {
    for (std::ptrdiff_t at = 0; at < count; at += kGroup)
        for (int k = 0; k < kGroup; ++k) {
            const std::ptrdiff_t i = at + k;
            out[2 * i] = quarter_1(line[i + 1], line[i]);
            out[2 * i + 1] = quarter_2(line[i + 1], line[i + 2]);
        }
}

// Twice as high, the upper and the lower of the two new rows; `far` is the row above or below.
YF_MULTIVERSION
inline void triangle_upper(const std::uint8_t* __restrict near, const std::uint8_t* __restrict far, int count,
                           std::uint8_t* __restrict out) {
    for (std::ptrdiff_t at = 0; at < count; at += kGroup)
        for (int k = 0; k < kGroup; ++k) out[at + k] = quarter_1(near[at + k], far[at + k]);
}

YF_MULTIVERSION
inline void triangle_lower(const std::uint8_t* __restrict near, const std::uint8_t* __restrict far, int count,
                           std::uint8_t* __restrict out) {
    for (std::ptrdiff_t at = 0; at < count; at += kGroup)
        for (int k = 0; k < kGroup; ++k) out[at + k] = quarter_2(near[at + k], far[at + k]);
}

// Twice as wide and high, in two steps so that it is rounded once: the sums of a column, then across.
YF_MULTIVERSION
inline void column_sums(const std::uint8_t* __restrict near, const std::uint8_t* __restrict far, int count,
                        std::uint16_t* __restrict sums) {
    for (std::ptrdiff_t at = 0; at < count; at += kGroup)
        for (int k = 0; k < kGroup; ++k)
            sums[at + k] = static_cast<std::uint16_t>(3 * near[at + k] + far[at + k]);
}

YF_MULTIVERSION
inline void triangle_sums(const std::uint16_t* __restrict sums, int count, std::uint8_t* __restrict out) {
    for (std::ptrdiff_t at = 0; at < count; at += kGroup)
        for (int k = 0; k < kGroup; ++k) {
            const std::ptrdiff_t i = at + k;
            const auto here = static_cast<std::uint16_t>(3 * sums[i + 1]);
            const auto first = static_cast<std::uint16_t>(here + sums[i] + 8);
            const auto second = static_cast<std::uint16_t>(here + sums[i + 2] + 7);
            store_pair(out + 2 * i, first >> 4, second >> 4);
        }
}

// Each sample two or four times, or any number of times.
YF_MULTIVERSION
inline void repeat_twice(const std::uint8_t* __restrict line, int count, std::uint8_t* __restrict out) {
    for (std::ptrdiff_t at = 0; at < count; at += kGroup)
        for (int k = 0; k < kGroup; ++k) {
            const auto copies = static_cast<std::uint16_t>(line[at + k + 1] * 0x0101u);
            std::memcpy(out + 2 * (at + k), &copies, sizeof copies);
        }
}

YF_MULTIVERSION
inline void repeat_four_times(const std::uint8_t* __restrict line, int count, std::uint8_t* __restrict out) {
    for (std::ptrdiff_t at = 0; at < count; at += kGroup)
        for (int k = 0; k < kGroup; ++k) {
            const std::uint32_t copies = line[at + k + 1] * 0x01010101u;
            std::memcpy(out + 4 * (at + k), &copies, sizeof copies);
        }
}

inline void repeat(const std::uint8_t* line, int count, int factor, std::uint8_t* out) {
    if (factor == 2) return repeat_twice(line, count, out);
    if (factor == 4) return repeat_four_times(line, count, out);
    for (int i = 0; i < count; ++i)
        for (int k = 0; k < factor; ++k) *out++ = line[i + 1];
}

}  // namespace yf::upsample
