// Colour conversion of packed rows. With u = Cb - 128, v = Cr - 128 and divisions rounded down, libjpeg
// defines
//   R = Y + (91881 v + 32768) / 65536
//   G = Y + (-22554 u - 46802 v + 32768) / 65536
//   B = Y + (116130 u + 32768) / 65536
// each clamped to 0..255. The vector forms reach the same in 16 bits:
// - R, B: the rounded product (2c * k + 16384) / 32768 (pmulhrsw) equals the definition for all 256 values of
//   c with the k below; the assertions prove it.
// - G: both coefficients are even. Half of them, split into bytes, gives two sums of products that fit 16
// bits
//   (pmaddubsw): high = 44 u + 91 v and low = 13 u + 105 v. As floors nest,
//     (-256 high - low + 16384) / 32768 = (low * -256 / 65536 - high + 64) / 128,
//   a high product (pmulhw) and a rounded one by 256.
#include "colour.hpp"

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
void groups_plain(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
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
void pack_plain(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
                std::uint8_t* out) {
    in_groups<16>(groups_plain<order>, y, cb, cr, count, out);
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

__attribute__((target("avx2"), always_inline)) inline __m256i load_avx2(const std::uint8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

template <PixelOrder order>
__attribute__((target("avx2"))) void groups_avx2(const std::uint8_t* y, const std::uint8_t* cb,
                                                 const std::uint8_t* cr, int count, std::uint8_t* out) {
    const __m256i zero = _mm256_setzero_si256(), sign = _mm256_set1_epi8(-128);
    const __m256i twice_u = _mm256_set1_epi16(byte_factors(2, 0)),
                  twice_v = _mm256_set1_epi16(byte_factors(0, 2));
    const __m256i red_factor = _mm256_set1_epi16(kRedFactor), blue_factor = _mm256_set1_epi16(kBlueFactor);
    const __m256i high_factors = _mm256_set1_epi16(byte_factors(kHighCb, kHighCr));
    const __m256i low_factors = _mm256_set1_epi16(byte_factors(kLowCb, kLowCr));
    const __m256i minus_256th = _mm256_set1_epi16(-256), rounded_128th = _mm256_set1_epi16(256);
    const __m256i spread_0 = load_avx2(kSpread[0].data()), spread_1 = load_avx2(kSpread[1].data()),
                  spread_2 = load_avx2(kSpread[2].data());
    const __m256i mask_0 = load_avx2(kMask[0].data()), mask_1 = load_avx2(kMask[1].data()),
                  mask_2 = load_avx2(kMask[2].data());

    for (std::ptrdiff_t i = 0; i < count; i += 32) {
        const __m256i luma = load_avx2(y + i);
        const __m256i u = _mm256_xor_si256(load_avx2(cb + i), sign),
                      v = _mm256_xor_si256(load_avx2(cr + i), sign);
        const __m256i levels[2] = {_mm256_unpacklo_epi8(luma, zero), _mm256_unpackhi_epi8(luma, zero)};
        const __m256i pairs[2] = {_mm256_unpacklo_epi8(u, v), _mm256_unpackhi_epi8(u, v)};
        __m256i red[2], green[2], blue[2];
        for (int k = 0; k < 2; ++k) {
            const __m256i u2 = _mm256_maddubs_epi16(twice_u, pairs[k]),
                          v2 = _mm256_maddubs_epi16(twice_v, pairs[k]);
            const __m256i high = _mm256_maddubs_epi16(high_factors, pairs[k]);
            const __m256i low = _mm256_maddubs_epi16(low_factors, pairs[k]);
            const __m256i sum = _mm256_sub_epi16(_mm256_mulhi_epi16(low, minus_256th), high);
            red[k] = _mm256_add_epi16(levels[k], _mm256_mulhrs_epi16(v2, red_factor));
            green[k] = _mm256_add_epi16(levels[k], _mm256_mulhrs_epi16(sum, rounded_128th));
            blue[k] = _mm256_add_epi16(levels[k], _mm256_mulhrs_epi16(u2, blue_factor));
        }
        const __m256i reds = _mm256_packus_epi16(red[0], red[1]),
                      blues = _mm256_packus_epi16(blue[0], blue[1]);
        const __m256i first = _mm256_shuffle_epi8(order == PixelOrder::rgb ? reds : blues, spread_0);
        const __m256i second = _mm256_shuffle_epi8(_mm256_packus_epi16(green[0], green[1]), spread_1);
        const __m256i third = _mm256_shuffle_epi8(order == PixelOrder::rgb ? blues : reds, spread_2);
        const __m256i a = _mm256_blendv_epi8(_mm256_blendv_epi8(first, second, mask_1), third, mask_2);
        const __m256i b = _mm256_blendv_epi8(_mm256_blendv_epi8(first, second, mask_0), third, mask_1);
        const __m256i c = _mm256_blendv_epi8(_mm256_blendv_epi8(first, second, mask_2), third, mask_0);
        auto* to = reinterpret_cast<__m256i*>(out + 3 * i);
        // The low halves hold the first 16 pixels, the high halves the other 16.
        _mm256_storeu_si256(to, _mm256_permute2x128_si256(a, b, 0x20));
        _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(c, a, 0x30));
        _mm256_storeu_si256(to + 2, _mm256_permute2x128_si256(b, c, 0x31));
    }
}

__attribute__((target("sse4.1"), always_inline)) inline __m128i load_sse41(const std::uint8_t* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

template <PixelOrder order>
__attribute__((target("sse4.1"))) void groups_sse41(const std::uint8_t* y, const std::uint8_t* cb,
                                                    const std::uint8_t* cr, int count, std::uint8_t* out) {
    const __m128i zero = _mm_setzero_si128(), sign = _mm_set1_epi8(-128);
    const __m128i twice_u = _mm_set1_epi16(byte_factors(2, 0)), twice_v = _mm_set1_epi16(byte_factors(0, 2));
    const __m128i red_factor = _mm_set1_epi16(kRedFactor), blue_factor = _mm_set1_epi16(kBlueFactor);
    const __m128i high_factors = _mm_set1_epi16(byte_factors(kHighCb, kHighCr));
    const __m128i low_factors = _mm_set1_epi16(byte_factors(kLowCb, kLowCr));
    const __m128i minus_256th = _mm_set1_epi16(-256), rounded_128th = _mm_set1_epi16(256);
    const __m128i spread_0 = load_sse41(kSpread[0].data()), spread_1 = load_sse41(kSpread[1].data()),
                  spread_2 = load_sse41(kSpread[2].data());
    const __m128i mask_0 = load_sse41(kMask[0].data()), mask_1 = load_sse41(kMask[1].data()),
                  mask_2 = load_sse41(kMask[2].data());

    for (std::ptrdiff_t i = 0; i < count; i += 16) {
        const __m128i luma = load_sse41(y + i);
        const __m128i u = _mm_xor_si128(load_sse41(cb + i), sign),
                      v = _mm_xor_si128(load_sse41(cr + i), sign);
        const __m128i levels[2] = {_mm_unpacklo_epi8(luma, zero), _mm_unpackhi_epi8(luma, zero)};
        const __m128i pairs[2] = {_mm_unpacklo_epi8(u, v), _mm_unpackhi_epi8(u, v)};
        __m128i red[2], green[2], blue[2];
        for (int k = 0; k < 2; ++k) {
            const __m128i u2 = _mm_maddubs_epi16(twice_u, pairs[k]),
                          v2 = _mm_maddubs_epi16(twice_v, pairs[k]);
            const __m128i high = _mm_maddubs_epi16(high_factors, pairs[k]);
            const __m128i low = _mm_maddubs_epi16(low_factors, pairs[k]);
            const __m128i sum = _mm_sub_epi16(_mm_mulhi_epi16(low, minus_256th), high);
            red[k] = _mm_add_epi16(levels[k], _mm_mulhrs_epi16(v2, red_factor));
            green[k] = _mm_add_epi16(levels[k], _mm_mulhrs_epi16(sum, rounded_128th));
            blue[k] = _mm_add_epi16(levels[k], _mm_mulhrs_epi16(u2, blue_factor));
        }
        const __m128i reds = _mm_packus_epi16(red[0], red[1]), blues = _mm_packus_epi16(blue[0], blue[1]);
        const __m128i first = _mm_shuffle_epi8(order == PixelOrder::rgb ? reds : blues, spread_0);
        const __m128i second = _mm_shuffle_epi8(_mm_packus_epi16(green[0], green[1]), spread_1);
        const __m128i third = _mm_shuffle_epi8(order == PixelOrder::rgb ? blues : reds, spread_2);
        const __m128i a = _mm_blendv_epi8(_mm_blendv_epi8(first, second, mask_1), third, mask_2);
        const __m128i b = _mm_blendv_epi8(_mm_blendv_epi8(first, second, mask_0), third, mask_1);
        const __m128i c = _mm_blendv_epi8(_mm_blendv_epi8(first, second, mask_2), third, mask_0);
        auto* to = reinterpret_cast<__m128i*>(out + 3 * i);
        _mm_storeu_si128(to, a);
        _mm_storeu_si128(to + 1, b);
        _mm_storeu_si128(to + 2, c);
    }
}

template <PixelOrder order>
void pack_avx2(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
               std::uint8_t* out) {
    in_groups<32>(groups_avx2<order>, y, cb, cr, count, out);
}

template <PixelOrder order>
void pack_sse41(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
                std::uint8_t* out) {
    in_groups<16>(groups_sse41<order>, y, cb, cr, count, out);
}

template <PixelOrder order>
PackRow of_form(PackForm form) {
    switch (form) {
        case PackForm::avx2:
            return pack_avx2<order>;
        case PackForm::sse41:
            return pack_sse41<order>;
        case PackForm::plain:
            break;
    }
    return pack_plain<order>;
}

#else

template <PixelOrder order>
PackRow of_form(PackForm) {
    return pack_plain<order>;
}

#endif

}  // namespace

PackForm best_pack_form() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return PackForm::avx2;
    if (__builtin_cpu_supports("sse4.1")) return PackForm::sse41;
#endif
    return PackForm::plain;
}

PackRow pack_row_function(PixelOrder order, PackForm form) {
    return order == PixelOrder::rgb ? of_form<PixelOrder::rgb>(form) : of_form<PixelOrder::bgr>(form);
}

}  // namespace yf
