// The renderer's last step: rows of (Y, Cb, Cr) samples to rows of R, G and B.
#pragma once

#include "common.hpp"

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
Colours quantise(const double* colour);

// Colours of `count` pixels, whose samples are those of render_rows.hpp, padded. `out` is where red goes;
// green and blue are `plane` bytes apart.
void write_colours(const std::int16_t* const* samples, const Colours& colours, int count, std::uint8_t* out,
                   std::ptrdiff_t plane);

}  // namespace yf
