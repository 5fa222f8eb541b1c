// Takes the place of CUDA's header of that name where csrc/cuda is compiled for the host.
#pragma once

#include <cstdint>

#include "emulation.hpp"

struct __half {
    std::uint16_t bits;
};

// Rounded to the nearest, halves to even.
inline __half __float2half_rn(float value) {
    return {std::bit_cast<std::uint16_t>(static_cast<_Float16>(value))};
}
