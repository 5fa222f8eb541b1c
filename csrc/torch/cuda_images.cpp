// torch.ops.yolofast.render_ and letterbox_ on CUDA tensors. See cuda.cpp.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cuda/letterbox.hpp"
#include "cuda/render.hpp"
#include "torch/device.hpp"
#include "torch/letterbox_arguments.hpp"
#include "torch/render_arguments.hpp"

namespace yf::torch_ops {
namespace {

cuda::PixelType pixel_type(ScalarType dtype) {
    switch (dtype) {
        case ScalarType::Byte:
            return cuda::PixelType::kByte;
        case ScalarType::Half:
            return cuda::PixelType::kHalf;
        case ScalarType::BFloat16:
            return cuda::PixelType::kBfloat16;
        default:
            return cuda::PixelType::kFloat;
    }
}

Tensor new_workspace(const Tensor& like, std::size_t bytes) {
    return torch::stable::new_empty(like, {static_cast<std::int64_t>(bytes)}, ScalarType::Byte);
}

void check_cuda(const char* op, cudaError_t status) {
    if (status != cudaSuccess) fail(op, ": CUDA says: ", cudaGetErrorString(status));
}

// The dispatcher comes here when any of the tensors is on a CUDA device.
void check_out_on_device(const char* op, const Tensor& out) {
    if (!is_on_device(out)) fail(op, ": out is on the CPU, other arguments are not; expected it with them");
}

std::vector<cuda::RenderSample> samples_of(const RenderArguments& given) {
    std::vector<cuda::RenderSample> samples(static_cast<std::size_t>(given.batch));
    for (std::size_t i = 0; i < samples.size(); ++i) {
        samples[i].mix = given.mix[i];
        samples[i].colour = given.colour.data() + 12 * i;
    }
    for (std::size_t t = 0; t < given.tiles.size(); ++t) {
        const Tile& tile = given.tiles[t];
        samples[static_cast<std::size_t>(given.samples[t])].layers[tile.layer].push_back(tile);
    }
    return samples;
}

void render_(const Tensor& out, const Tensor& planes_given, const Tensor& pictures, const Tensor& places,
             const Tensor& tile_sample, const Tensor& tile_picture, const Tensor& tile_layer,
             const Tensor& tile_matrix, const Tensor& tile_window, const Tensor& mix, const Tensor& colour) {
    check_out_on_device("render_", out);
    const OnDeviceOf device(out);
    const Tensor planes =
        device_tensor("render_", "planes", planes_given, device.index(), {ScalarType::Byte}, {kAny});
    const RenderArguments given = render_arguments(
        out, planes,
        {pictures, places, tile_sample, tile_picture, tile_layer, tile_matrix, tile_window, mix, colour});
    if (given.batch == 0) return;
    const cuda::RenderTable table = cuda::render_table(samples_of(given), given.height, given.width);
    const Tensor workspace = new_workspace(out, cuda::render_workspace(table));
    check_cuda("render_", cuda::render(table, workspace.mutable_data_ptr(), pixel_type(out.scalar_type()),
                                       out.mutable_data_ptr(), device.stream()));
}

void letterbox_(const Tensor& out, const std::vector<Tensor>& images_given, const Tensor& placed,
                std::int64_t fill) {
    check_out_on_device("letterbox_", out);
    const OnDeviceOf device(out);
    const LetterboxArguments given = letterbox_arguments(out, images_given, placed, fill, device.index());
    if (given.images.empty()) return;
    std::vector<cuda::LetterboxImage> images;
    for (std::size_t i = 0; i < given.images.size(); ++i) {
        const Tensor& image = given.images[i];
        const Placement& place = given.places[i];
        images.push_back({static_cast<const std::uint8_t*>(image.const_data_ptr()),
                          static_cast<int>(image.size(0)), static_cast<int>(image.size(1)),
                          place.inner_height, place.inner_width, place.pad_y, place.pad_x});
    }
    const Tensor workspace = new_workspace(out, cuda::letterbox_workspace(images.size()));
    check_cuda("letterbox_",
               cuda::letterbox(images, workspace.mutable_data_ptr(), given.height, given.width, given.fill,
                               pixel_type(out.scalar_type()), out.mutable_data_ptr(), device.stream()));
}

}  // namespace
}  // namespace yf::torch_ops

YF_APPLY(STABLE_TORCH_LIBRARY_IMPL, YF_OPERATORS, YF_DISPATCH_KEY, m) {
    m.impl("render_", TORCH_BOX(&yf::torch_ops::render_));
    m.impl("letterbox_", TORCH_BOX(&yf::torch_ops::letterbox_));
}
