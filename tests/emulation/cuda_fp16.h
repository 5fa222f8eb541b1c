// Takes the place of CUDA's header of that name where csrc/cuda is compiled for the host.
#pragma once

#include <cstdint>

#include "emulation.hpp"

struct __half {
    std::uint16_t bits;
};

struct __half2 {
    __half x, y;
};

namespace emulation {

inline double number(__half value) { return static_cast<double>(std::bit_cast<_Float16>(value.bits)); }
// Rounded to the nearest, halves to even.
inline __half half(double value) { return {std::bit_cast<std::uint16_t>(static_cast<_Float16>(value))}; }

}  // namespace emulation

inline float __half2float(__half value) { return static_cast<float>(emulation::number(value)); }
inline __half2 __float2half2_rn(float value) { return {emulation::half(value), emulation::half(value)}; }

// Double holds what comes before the rounding, or so much of it that rounding again changes nothing.
inline __half2 __hsub2(__half2 a, __half2 b) {
    using emulation::number;
    return {emulation::half(number(a.x) - number(b.x)), emulation::half(number(a.y) - number(b.y))};
}
inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) {
    using emulation::number;
    return {emulation::half(number(a.x) * number(b.x) + number(c.x)),
            emulation::half(number(a.y) * number(b.y) + number(c.y))};
}
