// See rgb_rows.hpp. Pixels are first widened to four bytes each, because compilers vectorise what follows
// only then: they do not take apart groups of three.
#include "core/image/rgb_rows.hpp"

#include <algorithm>
#include <cstddef>

#include "core/common.hpp"
#include "core/image/ycc.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace yf {
namespace {

constexpr int kGroup = 128;  // pixels

inline std::uint32_t pixel_at(const std::uint8_t* rgb) {
    return rgb[0] | static_cast<std::uint32_t>(rgb[1]) << 8 | static_cast<std::uint32_t>(rgb[2]) << 16;
}

#if defined(__x86_64__)
inline bool has_byte_shuffle() { return __builtin_cpu_supports("ssse3"); }

// As many pixels as can be read 16 bytes at a time without reading behind the last one; the fourth byte of
// each is 0. Returns how many.
__attribute__((target("ssse3"))) int widen(const std::uint8_t* rgb, int count, std::uint32_t* out) {
    const __m128i pick = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    int x = 0;
    for (; 3 * x + 16 <= 3 * count; x += 4) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 3 * x));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + x), _mm_shuffle_epi8(bytes, pick));
    }
    return x;
}
#else
inline bool has_byte_shuffle() { return false; }
inline int widen(const std::uint8_t*, int, std::uint32_t*) { return 0; }
#endif

// kGroup pixels.
YF_MULTIVERSION
void convert_group(const std::uint32_t* __restrict pixels, std::uint8_t* __restrict y,
                   std::uint8_t* __restrict cb, std::uint8_t* __restrict cr) {
    for (std::ptrdiff_t i = 0; i < kGroup; ++i) {
        const std::uint32_t pixel = pixels[i];
        const int r = pixel & 0xFF, g = pixel >> 8 & 0xFF, b = pixel >> 16;
        y[i] = luma_of(r, g, b);
        cb[i] = cb_of(r, g, b);
        cr[i] = cr_of(r, g, b);
    }
}

}  // namespace

void convert_row(const std::uint8_t* rgb, int width, std::uint8_t* y, std::uint8_t* cb, std::uint8_t* cr) {
    std::uint32_t pixels[kGroup];
    for (int begin = 0; width >= kGroup && begin < width; begin += kGroup) {
        const int x = std::min(begin, width - kGroup);  // the last group may overlap the one before
        int done = has_byte_shuffle() ? widen(rgb + 3 * x, kGroup, pixels) : 0;
        for (; done < kGroup; ++done) pixels[done] = pixel_at(rgb + 3 * (x + done));
        convert_group(pixels, y + x, cb + x, cr + x);
    }
    for (int x = 0; width < kGroup && x < width; ++x) {
        const int r = rgb[3 * x], g = rgb[3 * x + 1], b = rgb[3 * x + 2];
        y[x] = luma_of(r, g, b);
        cb[x] = cb_of(r, g, b);
        cr[x] = cr_of(r, g, b);
    }
}

}  // namespace yf
