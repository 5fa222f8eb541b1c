// Takes the place of CUDA's header of that name where csrc/cuda is compiled for the host.
#pragma once

#include <cstdint>

#include "emulation.hpp"

struct __nv_bfloat16 {
    std::uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 value) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

struct __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

// Of numbers, not NaN: rounded to the nearest, halves to even.
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    const auto rounded = [](float value) -> __nv_bfloat16 {
        const auto bits = std::bit_cast<std::uint32_t>(value);
        return {static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
    };
    return {rounded(x), rounded(y)};
}
