// What render_ is given, checked: for both devices.
#pragma once

#include <cstdint>
#include <vector>

#include "core/render/render.hpp"
#include "torch/checks.hpp"

namespace yf::torch_ops {

// The tensors of render_ that are on the CPU whatever the device, in the order of its schema.
struct RenderPlan {
    const Tensor &pictures, &places, &tile_sample, &tile_picture, &tile_layer, &tile_matrix, &tile_window,
        &mix, &colour;
};

// A copy, so that nobody changes it between check and use. Planes point into `planes`.
struct RenderArguments {
    int batch, height, width;
    std::vector<Tile> tiles;
    std::vector<std::int64_t> samples;  // of each tile, ascending
    std::vector<double> mix, colour;    // [batch], [batch, 3, 4]
};

// `out` [B, 3, H, W], written whole and in place; `planes` uint8 [N], contiguous.
RenderArguments render_arguments(const Tensor& out, const Tensor& planes, const RenderPlan& plan);

}  // namespace yf::torch_ops
