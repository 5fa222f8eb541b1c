// What letterbox_ is given, checked: for both devices.
#pragma once

#include <cstdint>
#include <vector>

#include "torch/checks.hpp"

namespace yf::torch_ops {

struct Placement {
    int inner_height, inner_width, pad_y, pad_x;
};

struct LetterboxArguments {
    int height, width;
    std::vector<Tensor> images;  // contiguous uint8 [H, W, 3], each of its own size
    std::vector<Placement> places;
    std::uint8_t fill;
};

// `out` [B, 3, H, W], written whole and in place; `images` on the device of that index, -1 for the CPU;
// `placed` int64 [B, 4] on the CPU.
LetterboxArguments letterbox_arguments(const Tensor& out, const std::vector<Tensor>& images,
                                       const Tensor& placed, std::int64_t fill, std::int32_t device);

}  // namespace yf::torch_ops
