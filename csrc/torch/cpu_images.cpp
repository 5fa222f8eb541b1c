// torch.ops.yolofast.render_ and letterbox_ on CPU tensors.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/image/image.hpp"
#include "core/render/render.hpp"
#include "torch/letterbox_arguments.hpp"
#include "torch/render_arguments.hpp"

namespace yf::torch_ops {
namespace {

template <typename T>
void write_unit(const std::vector<std::uint8_t>& levels, T* out) {
    std::array<T, 256> unit;
    for (std::size_t level = 0; level < unit.size(); ++level)
        unit[level] = static_cast<T>(static_cast<float>(level) / 255.0f);
    std::transform(levels.begin(), levels.end(), out, [&](std::uint8_t level) { return unit[level]; });
}

void check_cpu_out(const char* op, const Tensor& out) {
    if (!out.is_cpu()) fail(op, ": out is not on the CPU, as other arguments are; expected all there");
}

void write_levels(const std::vector<std::uint8_t>& levels, const Tensor& out, std::int64_t sample) {
    const std::int64_t at = sample * static_cast<std::int64_t>(levels.size());
    void* const data = out.mutable_data_ptr();
    switch (out.scalar_type()) {
        case ScalarType::Half:
            return write_unit(levels, static_cast<c10::Half*>(data) + at);
        case ScalarType::BFloat16:
            return write_unit(levels, static_cast<c10::BFloat16*>(data) + at);
        default:
            return write_unit(levels, static_cast<float*>(data) + at);
    }
}

// Samples of `out` one by one: `draw(i, levels)` writes the levels of sample i. They are shared among torch's
// own threads; `make` gives each of them a `draw`.
template <typename Make>
void draw_samples(const Tensor& out, Make make) {
    const std::int64_t size = 3 * out.size(2) * out.size(3);
    torch::stable::parallel_for(0, out.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
        auto draw = make();
        const bool bytes = out.scalar_type() == ScalarType::Byte;
        std::vector<std::uint8_t> levels(bytes ? 0 : static_cast<std::size_t>(size));
        for (std::int64_t i = begin; i < end; ++i) {
            draw(i, bytes ? static_cast<std::uint8_t*>(out.mutable_data_ptr()) + i * size : levels.data());
            if (!bytes) write_levels(levels, out, i);
        }
    });
}

void render_(const Tensor& out, const Tensor& planes_given, const Tensor& pictures, const Tensor& places,
             const Tensor& tile_sample, const Tensor& tile_picture, const Tensor& tile_layer,
             const Tensor& tile_matrix, const Tensor& tile_window, const Tensor& mix, const Tensor& colour) {
    check_cpu_out("render_", out);
    const Tensor planes = cpu_tensor("render_", "planes", planes_given, {ScalarType::Byte}, {kAny});
    const RenderArguments given = render_arguments(
        out, planes,
        {pictures, places, tile_sample, tile_picture, tile_layer, tile_matrix, tile_window, mix, colour});
    const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(given.height) * given.width;
    draw_samples(out, [&] {
        return [&, renderer = std::make_unique<Renderer>()](std::int64_t i, std::uint8_t* levels) {
            const auto [first, last] = std::equal_range(given.samples.begin(), given.samples.end(), i);
            renderer->render(given.tiles.data() + (first - given.samples.begin()),
                             static_cast<std::size_t>(last - first), given.mix[static_cast<std::size_t>(i)],
                             given.colour.data() + 12 * i,
                             {levels, plane, given.width, given.height, given.width});
        };
    });
}

void letterbox_(const Tensor& out, const std::vector<Tensor>& images, const Tensor& placed,
                std::int64_t fill) {
    check_cpu_out("letterbox_", out);
    const LetterboxArguments given = letterbox_arguments(out, images, placed, fill, -1);
    const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(given.height) * given.width;
    draw_samples(out, [&] {
        return [&](std::int64_t i, std::uint8_t* levels) {
            const Tensor& image = given.images[static_cast<std::size_t>(i)];
            const Placement& place = given.places[static_cast<std::size_t>(i)];
            const auto height = static_cast<int>(image.size(0)), width = static_cast<int>(image.size(1));
            yf::letterbox_planar({static_cast<const std::uint8_t*>(image.const_data_ptr()),
                                  3 * static_cast<std::ptrdiff_t>(width), height, width},
                                 {levels, plane, given.width, given.height, given.width}, place.inner_height,
                                 place.inner_width, place.pad_y, place.pad_x, given.fill);
        };
    });
}

}  // namespace
}  // namespace yf::torch_ops

STABLE_TORCH_LIBRARY_IMPL(yolofast, CPU, m) {
    m.impl("render_", TORCH_BOX(&yf::torch_ops::render_));
    m.impl("letterbox_", TORCH_BOX(&yf::torch_ops::letterbox_));
}
