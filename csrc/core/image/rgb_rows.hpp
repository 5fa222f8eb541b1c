// Rows of RGB to rows of luma and chroma, at full size: see ycc.hpp for the formula.
#pragma once

#include <cstdint>

namespace yf {

// `width` pixels R, G, B of a byte each to as many samples of each plane.
void convert_row(const std::uint8_t* rgb, int width, std::uint8_t* y, std::uint8_t* cb, std::uint8_t* cr);

}  // namespace yf
