// Where one index of a resampled axis finds its two sources: the arithmetic that resample.hpp and csrc/cuda
// share. Each operation is rounded by itself, so whoever compiles this must not contract products and sums.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/common.hpp"

namespace yf {

struct Tap {
    std::int32_t first, second;
    std::int16_t weight;  // of the second, in 1/32768
};

// The target index whose centre lies at `gain * (index + 0.5) + offset`, in pixel edges of `source` pixels.
YF_HOST_DEVICE inline Tap tap_at(double gain, double offset, int index, int source) {
    const double edge = gain * (index + 0.5) + offset;
    const double at = std::clamp(edge - 0.5, 0.0, static_cast<double>(source - 1));
    const auto first = static_cast<std::int32_t>(at);
    return {first, std::min(first + 1, source - 1),
            static_cast<std::int16_t>(std::min((at - first) * 32768.0 + 0.5, 32767.0))};
}

}  // namespace yf
