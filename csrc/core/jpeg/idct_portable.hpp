// What the inverse DCTs of all sizes share, in portable C++; see idct.hpp.
#pragma once

#include <algorithm>
#include <cstdint>

namespace yf {

inline std::uint8_t sample(std::int32_t level) {
    return static_cast<std::uint8_t>(std::clamp(level, -128, 127) + 128);
}

// Wraps around at 32 bits.
inline std::uint32_t product(std::int32_t value, std::int32_t factor) {
    return static_cast<std::uint32_t>(value) * static_cast<std::uint32_t>(factor);
}

// Whether the coefficients of rows [first, last) of a block are zero.
inline bool rows_are_zero(const std::int16_t* coefficients, int first, int last) {
    return std::all_of(coefficients + 8 * first, coefficients + 8 * last,
                       [](std::int16_t c) { return c == 0; });
}

}  // namespace yf
