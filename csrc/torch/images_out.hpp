// The `out` of operators that write images in place: [B, 3, H, W], uint8 levels or, in the other types,
// level / 255.
#pragma once

#include "torch/device.hpp"

#if defined(YOLOFAST_TORCH_CUDA)
#include "cuda/pixel_type.hpp"
#else
#include <vector>
#endif

namespace yf::torch_ops {

// On the operator's device, of a type that images come in, sides of 1..kMaxSide, contiguous.
void check_images_out(const char* op, const Tensor& out);

// That `out` shares no memory with another tensor; both are contiguous.
void check_apart(const char* op, const Tensor& out, const char* name, const Tensor& other);

#if defined(YOLOFAST_TORCH_CUDA)

cuda::PixelType pixel_type(ScalarType dtype);

#else

// Writes sample i of `out` from its 3 * H * W levels, where `out` is not uint8.
void write_levels(const std::vector<std::uint8_t>& levels, const Tensor& out, std::int64_t i);

// Samples of `out` one by one: `render(i, levels)` writes the levels of sample i. They are shared among
// torch's own threads; `make` gives each of them a `render`.
template <typename Make>
void render_samples(const Tensor& out, Make make) {
    const std::int64_t size = 3 * out.size(2) * out.size(3);
    torch::stable::parallel_for(0, out.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
        auto render = make();
        const bool bytes = out.scalar_type() == kByte;
        std::vector<std::uint8_t> levels(bytes ? 0 : static_cast<std::size_t>(size));
        for (std::int64_t i = begin; i < end; ++i) {
            render(i, bytes ? output<std::uint8_t>(out) + i * size : levels.data());
            if (!bytes) write_levels(levels, out, i);
        }
    });
}

#endif

}  // namespace yf::torch_ops
