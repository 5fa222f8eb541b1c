// Colour conversion of packed rows. With u = Cb - 128, v = Cr - 128 and divisions rounded down, libjpeg
// defines
//   R = Y + (91881 v + 32768) / 65536
//   G = Y + (-22554 u - 46802 v + 32768) / 65536
//   B = Y + (116130 u + 32768) / 65536
// each clamped to 0..255. The vector forms reach the same in 16 bits:
// - R, B: the rounded product (2c * k + 16384) / 32768 (pmulhrsw) equals the definition for all 256 values of
//   c with the k below; the assertions prove it.
// - G: both coefficients are even. Half of them, split into bytes, gives two sums of products that fit
//   16 bits (pmaddubsw): high = 44 u + 91 v and low = 13 u + 105 v. As floors nest,
//     (-256 high - low + 16384) / 32768 = (low * -256 / 65536 - high + 64) / 128,
//   a high product (pmulhw) and a rounded one by 256.
#include "core/jpeg/colour.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace yf {
namespace {

constexpr int kRedCr = 91881, kGreenCb = -22554, kGreenCr = -46802, kBlueCb = 116130;  // 1/65536
constexpr int kHalf = 32768;

std::uint8_t clamped(int level) { return static_cast<std::uint8_t>(std::clamp(level, 0, 255)); }

// A row through `kernel`, which takes whole groups of `group` pixels. The last ones of a row are done with
// some of those before them, once more; a row shorter than a group goes through copies.
template <int group, typename Kernel>
void in_groups(Kernel kernel, const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr,
               int count, std::uint8_t* out) {
    const int rest = count % group;
    const std::ptrdiff_t last = count - group;
    if (count >= group) {
        kernel(y, cb, cr, count - rest, out);
        if (rest != 0) kernel(y + last, cb + last, cr + last, group, out + 3 * last);
    } else if (rest > 0) {
        std::uint8_t in[3][group] = {}, pixels[3 * group];
        std::memcpy(in[0], y, static_cast<std::size_t>(rest));
        std::memcpy(in[1], cb, static_cast<std::size_t>(rest));
        std::memcpy(in[2], cr, static_cast<std::size_t>(rest));
        kernel(in[0], in[1], in[2], group, pixels);
        std::memcpy(out, pixels, static_cast<std::size_t>(3 * rest));
    }
}

// In groups of fixed size, each colour by itself, so that the compiler finds vectors where it has any.
template <PixelOrder order>
void groups_portable(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
                     std::uint8_t* out) {
    constexpr int red_at = order == PixelOrder::rgb ? 0 : 2, blue_at = 2 - red_at;
    std::uint8_t red[16], green[16], blue[16];
    for (std::ptrdiff_t at = 0; at < count; at += 16) {
        for (int k = 0; k < 16; ++k) {
            const int level = y[at + k], u = cb[at + k] - 128, v = cr[at + k] - 128;
            red[k] = clamped(level + ((kRedCr * v + kHalf) >> 16));
            green[k] = clamped(level + ((kGreenCb * u + kGreenCr * v + kHalf) >> 16));
            blue[k] = clamped(level + ((kBlueCb * u + kHalf) >> 16));
        }
        for (int k = 0; k < 16; ++k) {
            std::uint8_t* pixel = out + 3 * (at + k);
            pixel[red_at] = red[k];
            pixel[1] = green[k];
            pixel[blue_at] = blue[k];
        }
    }
}

template <PixelOrder order>
void pack_portable(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
                   std::uint8_t* out) {
    in_groups<16>(groups_portable<order>, y, cb, cr, count, out);
}

#if defined(__x86_64__)

constexpr int kRedFactor = 22971, kBlueFactor = 29033;  // of 2c, in 1/32768

constexpr bool equals_definition(int factor, int coefficient) {
    for (int c = -128; c < 128; ++c)
        if ((2 * c * factor + 16384) >> 15 != (coefficient * c + kHalf) >> 16) return false;
    return true;
}
static_assert(equals_definition(kRedFactor, kRedCr) && equals_definition(kBlueFactor, kBlueCb));

constexpr int kHighCb = 44, kHighCr = 91, kLowCb = 13, kLowCr = 105;
static_assert(kGreenCb == -2 * (256 * kHighCb + kLowCb) && kGreenCr == -2 * (256 * kHighCr + kLowCr));

// Two byte factors side by side, the first one for Cb.
constexpr short byte_factors(int cb, int cr) { return static_cast<short>(cb | cr << 8); }

// 16 pixels are 48 bytes, three vectors; byte p of vector k belongs to colour (16k + p) % 3 = (k + p) % 3.
// The bytes of one colour lie at different p in each vector, so one shuffle a colour puts all of its 16 bytes
// where they go, and masks choose among the colours. Twice each, for both halves of a 32-byte vector.
using Bytes = std::array<std::uint8_t, 32>;

constexpr Bytes spread_of(int colour) {
    Bytes spread{};
    for (int p = 0; p < 32; ++p) {
        const int at = p % 16, vector = (colour + 15 - at) % 3;
        spread[static_cast<std::size_t>(p)] = static_cast<std::uint8_t>((16 * vector + at) / 3);
    }
    return spread;
}

constexpr Bytes mask_of(int remainder) {
    Bytes mask{};
    for (int p = 0; p < 32; ++p) mask[static_cast<std::size_t>(p)] = p % 16 % 3 == remainder ? 0xFF : 0;
    return mask;
}

constexpr Bytes kSpread[3] = {spread_of(0), spread_of(1), spread_of(2)};
constexpr Bytes kMask[3] = {mask_of(0), mask_of(1), mask_of(2)};

// -------------------------------------------------------------------------------------- SSE4.1: 16 pixels

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("sse4.1"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("sse4.1")
#endif

namespace sse41 {

using Vector = __m128i;

constexpr int kGroup = 16;  // pixels

inline Vector load(const std::uint8_t* from) {
    return _mm_loadu_si128(reinterpret_cast<const Vector*>(from));
}
inline Vector words(int value) { return _mm_set1_epi16(static_cast<short>(value)); }
inline Vector centre(Vector bytes) { return _mm_xor_si128(bytes, _mm_set1_epi8(-128)); }
inline Vector low_words(Vector bytes) { return _mm_unpacklo_epi8(bytes, _mm_setzero_si128()); }
inline Vector high_words(Vector bytes) { return _mm_unpackhi_epi8(bytes, _mm_setzero_si128()); }
inline Vector low_pairs(Vector a, Vector b) { return _mm_unpacklo_epi8(a, b); }
inline Vector high_pairs(Vector a, Vector b) { return _mm_unpackhi_epi8(a, b); }
inline Vector add16(Vector a, Vector b) { return _mm_add_epi16(a, b); }
inline Vector sub16(Vector a, Vector b) { return _mm_sub_epi16(a, b); }
inline Vector mulhi(Vector a, Vector b) { return _mm_mulhi_epi16(a, b); }
inline Vector mulhrs(Vector a, Vector b) { return _mm_mulhrs_epi16(a, b); }
inline Vector maddubs(Vector a, Vector b) { return _mm_maddubs_epi16(a, b); }
inline Vector saturate(Vector a, Vector b) { return _mm_packus_epi16(a, b); }
inline Vector shuffle(Vector bytes, Vector order) { return _mm_shuffle_epi8(bytes, order); }
inline Vector blend(Vector a, Vector b, Vector mask) { return _mm_blendv_epi8(a, b, mask); }
inline void put_pixels(Vector a, Vector b, Vector c, std::uint8_t* out) {
    auto* to = reinterpret_cast<Vector*>(out);
    _mm_storeu_si128(to, a);
    _mm_storeu_si128(to + 1, b);
    _mm_storeu_si128(to + 2, c);
}

#include "core/jpeg/colour_lanes.hpp"

}  // namespace sse41

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

// ------------------------------------------------------------------------------------------ AVX2: 32 pixels

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

namespace avx2 {

using Vector = __m256i;

constexpr int kGroup = 32;  // pixels

inline Vector load(const std::uint8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const Vector*>(from));
}
inline Vector words(int value) { return _mm256_set1_epi16(static_cast<short>(value)); }
inline Vector centre(Vector bytes) { return _mm256_xor_si256(bytes, _mm256_set1_epi8(-128)); }
inline Vector low_words(Vector bytes) { return _mm256_unpacklo_epi8(bytes, _mm256_setzero_si256()); }
inline Vector high_words(Vector bytes) { return _mm256_unpackhi_epi8(bytes, _mm256_setzero_si256()); }
inline Vector low_pairs(Vector a, Vector b) { return _mm256_unpacklo_epi8(a, b); }
inline Vector high_pairs(Vector a, Vector b) { return _mm256_unpackhi_epi8(a, b); }
inline Vector add16(Vector a, Vector b) { return _mm256_add_epi16(a, b); }
inline Vector sub16(Vector a, Vector b) { return _mm256_sub_epi16(a, b); }
inline Vector mulhi(Vector a, Vector b) { return _mm256_mulhi_epi16(a, b); }
inline Vector mulhrs(Vector a, Vector b) { return _mm256_mulhrs_epi16(a, b); }
inline Vector maddubs(Vector a, Vector b) { return _mm256_maddubs_epi16(a, b); }
inline Vector saturate(Vector a, Vector b) { return _mm256_packus_epi16(a, b); }
inline Vector shuffle(Vector bytes, Vector order) { return _mm256_shuffle_epi8(bytes, order); }
inline Vector blend(Vector a, Vector b, Vector mask) { return _mm256_blendv_epi8(a, b, mask); }
// The low halves hold the first 16 pixels, the high halves the other 16.
inline void put_pixels(Vector a, Vector b, Vector c, std::uint8_t* out) {
    auto* to = reinterpret_cast<Vector*>(out);
    _mm256_storeu_si256(to, _mm256_permute2x128_si256(a, b, 0x20));
    _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(c, a, 0x30));
    _mm256_storeu_si256(to + 2, _mm256_permute2x128_si256(b, c, 0x31));
}

#include "core/jpeg/colour_lanes.hpp"

}  // namespace avx2

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

template <PixelOrder order>
PackRow of_form(PackForm form) {
    switch (form) {
        case PackForm::avx2:
            return avx2::pack<order>;
        case PackForm::sse41:
            return sse41::pack<order>;
        case PackForm::portable:
            break;
    }
    return pack_portable<order>;
}

#else

template <PixelOrder order>
PackRow of_form(PackForm) {
    return pack_portable<order>;
}

#endif

}  // namespace

PackForm best_pack_form() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return PackForm::avx2;
    if (__builtin_cpu_supports("sse4.1")) return PackForm::sse41;
#endif
    return PackForm::portable;
}

PackRow pack_row_function(PixelOrder order, PackForm form) {
    return order == PixelOrder::rgb ? of_form<PixelOrder::rgb>(form) : of_form<PixelOrder::bgr>(form);
}

}  // namespace yf
