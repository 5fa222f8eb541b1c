// A row of YCbCr samples to packed RGB or BGR, to the bit as libjpeg-turbo converts it.
#pragma once

#include <cstdint>

namespace yf {

enum class PixelOrder : int { rgb = 0, bgr };

// Forms of the kernel, worst first. Each machine has those up to `best_pack_form()`.
enum class PackForm : int { portable = 0, sse41, avx2 };

PackForm best_pack_form();

// Reads `count` samples of each row and writes 3 * count bytes.
using PackRow = void (*)(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int count,
                         std::uint8_t* out);

PackRow pack_row_function(PixelOrder order, PackForm form);

}  // namespace yf
