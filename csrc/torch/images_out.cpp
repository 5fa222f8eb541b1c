#include "torch/images_out.hpp"

#include <string>

namespace yf::torch_ops {

void check_images_out(const char* op, const Tensor& out) {
    const ScalarType dtype = out.scalar_type();
    if (dtype != ScalarType::Byte && dtype != ScalarType::Half && dtype != ScalarType::BFloat16 &&
        dtype != ScalarType::Float) {
        fail(op, ": out has dtype ", torch::headeronly::toString(dtype),
             "; expected uint8, float16, bfloat16 or float32");
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
               start = reinterpret_cast<std::uintptr_t>(other.const_data_ptr());
    const std::uintptr_t size = static_cast<std::uintptr_t>(out.numel()) * out.element_size(),
                         others = static_cast<std::uintptr_t>(other.numel()) * other.element_size();
    if (begin < start + others && start < begin + size)
        fail(op, ": out shares memory with ", name, "; expected a tensor of its own");
}

}  // namespace yf::torch_ops
