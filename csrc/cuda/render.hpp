// The executor of a BatchPlan on the device: planes in, planar RGB out, the pixels of
// csrc/core/render/render.hpp.
//
// Two launches per batch, after the copy of a small table: which pixels each tile owns and where they lie in
// its planes, in double; then the pixels, with none of that left. Each output pixel is written once. The
// lower bound is memory traffic: the output once, and the bytes of the planes that show once.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/render/render.hpp"
#include "cuda/pixel_type.hpp"

namespace yf::cuda {

constexpr int kLayers = 3;

// One sample: its tiles, first those of layer 0, in the order in which they are drawn.
struct RenderSample {
    std::vector<Tile> layers[kLayers];  // planes are on the device, all else is here
    double mix;
    const double* colour;  // 3x4
    Rectangle hole;        // of the output: shows layer 2 alone
};

// What the kernels read, worked out on the host: to be copied to the device as it is.
struct RenderTable {
    std::vector<char> bytes;
    int height, width;
    std::size_t samples, tiles, general;  // `general`: tiles that are not upright
    std::size_t upright() const { return tiles - general; }
};

// Of samples of one size, whose numbers keep the limits of csrc/core/limits.hpp. Pixels of a plane are packed
// within each row; no plane has 1 GiB or more.
RenderTable render_table(const std::vector<RenderSample>& samples, int height, int width);

// How many bytes of workspace `render` needs, the table included.
std::size_t render_workspace(const RenderTable& table);

// Renders to `out`, [samples, 3, height, width] of `type`. The table is copied to the device on the stream;
// when this returns it is no longer read. The workspace is aligned to kWorkspaceAlign.
cudaError_t render(const RenderTable& table, void* workspace, PixelType type, void* out, cudaStream_t stream);

}  // namespace yf::cuda
