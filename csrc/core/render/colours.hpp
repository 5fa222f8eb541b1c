// The renderer's last step: rows of (Y, Cb, Cr) samples to rows of R, G and B.
#pragma once

#include <algorithm>
#include <cmath>

#include "core/common.hpp"

namespace yf {

constexpr int kPlanes = 3;

// (Y, Cb, Cr) -> one of R, G, B: coefficients in 1/4096, products and offset in 1/16 level.
struct ColourRow {
    std::int16_t y, cb, cr, offset;
};

struct Colours {
    ColourRow rows[kPlanes];
};

// Fixed point of a 3x4 colour matrix, (Y, Cb, Cr, 1) -> (R, G, B).
inline Colours quantise(const double* colour) {
    Colours result;
    const auto fixed = [](double value) {
        return static_cast<std::int16_t>(std::clamp(std::lround(value), -32768L, 32767L));
    };
    for (int c = 0; c < 3; ++c) {
        const double* m = colour + 4 * c;
        const double centre = m[3] + 128.0 * (m[0] + m[1] + m[2]);
        result.rows[c] = {fixed(m[0] * 4096), fixed(m[1] * 4096), fixed(m[2] * 4096), fixed(centre * 16 + 8)};
    }
    return result;
}

// Colours of `count` pixels, whose samples are those of core/render/rows.hpp, padded. `out` is where red
// goes; green and blue are `plane` bytes apart.
void write_colours(const std::int16_t* const* samples, const Colours& colours, int count, std::uint8_t* out,
                   std::ptrdiff_t plane);

}  // namespace yf
