// RGB to YCbCr as JFIF has it (BT.601, full range), in 16 fractional bits. The last 0x7fff of chroma keeps
// 255.5 from rounding to 256.
#pragma once

#include <cstdint>

namespace yf {

inline std::uint8_t luma_of(int r, int g, int b) {
    return static_cast<std::uint8_t>((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
}

inline std::uint8_t cb_of(int r, int g, int b) {
    return static_cast<std::uint8_t>((-11059 * r - 21709 * g + 32768 * b + (128 << 16) + 32767) >> 16);
}

inline std::uint8_t cr_of(int r, int g, int b) {
    return static_cast<std::uint8_t>((32768 * r - 27439 * g - 5329 * b + (128 << 16) + 32767) >> 16);
}

}  // namespace yf
