// Takes the place of CUDA's header of that name where csrc/cuda is compiled for the host.
#pragma once

#include <cstdint>

#include "emulation.hpp"

struct __nv_bfloat16 {
    std::uint16_t bits;
};

// Of a number, not a NaN: rounded to the nearest, halves to even.
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return {static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
}
