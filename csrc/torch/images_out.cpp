// See images_out.hpp.
#include "torch/images_out.hpp"

#include <string>

#include "core/limits.hpp"

#if !defined(YOLOFAST_TORCH_CUDA)
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <array>
#endif

namespace yf::torch_ops {

void check_images_out(const char* op, const Tensor& out) {
    if (!is_on_device(out) && !out.is_cpu())
        fail(op, ": out is not on the CPU, as other arguments are; expected all there");
    if (!is_on_device(out)) fail(op, ": out is on the CPU, other arguments are not; expected it with them");
    const ScalarType dtype = out.scalar_type();
    if (dtype != kByte && dtype != ScalarType::Half && dtype != ScalarType::BFloat16 && dtype != kFloat) {
        fail(op, ": out has dtype ", dtype_name(dtype), "; expected uint8, float16, bfloat16 or float32");
    }
    const auto side_fits = [&](int axis) { return out.size(axis) >= 1 && out.size(axis) <= kMaxSide; };
    if (out.dim() != 4 || out.size(1) != 3 || !side_fits(2) || !side_fits(3) || out.size(0) > kMaxSide) {
        std::string shape;
        for (const std::int64_t size : out.sizes())
            shape += (shape.empty() ? "" : ", ") + std::to_string(size);
        fail(op, ": out has shape [", shape, "]; expected [B, 3, H, W] with sides of 1..", kMaxSide);
    }
    if (!out.is_contiguous()) fail(op, ": out is not contiguous; expected a tensor that is written whole");
}

void check_apart(const char* op, const Tensor& out, const char* name, const Tensor& other) {
    const auto begin = reinterpret_cast<std::uintptr_t>(out.const_data_ptr()),
               other_begin = reinterpret_cast<std::uintptr_t>(other.const_data_ptr());
    const std::uintptr_t size = static_cast<std::uintptr_t>(out.numel()) * out.element_size(),
                         other_size = static_cast<std::uintptr_t>(other.numel()) * other.element_size();
    if (begin < other_begin + other_size && other_begin < begin + size)
        fail(op, ": out shares memory with ", name, "; expected a tensor of its own");
}

#if defined(YOLOFAST_TORCH_CUDA)

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

#else

namespace {

template <typename T>
void write_unit(const std::vector<std::uint8_t>& levels, T* out) {
    std::array<T, 256> unit;
    for (std::size_t level = 0; level < unit.size(); ++level)
        unit[level] = static_cast<T>(static_cast<float>(level) / 255.0f);
    std::transform(levels.begin(), levels.end(), out, [&](std::uint8_t level) { return unit[level]; });
}

}  // namespace

void write_levels(const std::vector<std::uint8_t>& levels, const Tensor& out, std::int64_t i) {
    const std::int64_t begin = i * static_cast<std::int64_t>(levels.size());
    switch (out.scalar_type()) {
        case ScalarType::Half:
            return write_unit(levels, output<c10::Half>(out) + begin);
        case ScalarType::BFloat16:
            return write_unit(levels, output<c10::BFloat16>(out) + begin);
        default:
            return write_unit(levels, output<float>(out) + begin);
    }
}

#endif

}  // namespace yf::torch_ops
