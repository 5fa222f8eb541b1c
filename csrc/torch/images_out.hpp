// The `out` of operators that write images in place: [B, 3, H, W], uint8 levels or, in the other types,
// level / 255.
#pragma once

#include <cstdint>

#include "torch/checks.hpp"

namespace yf::torch_ops {

constexpr std::int64_t kMaxSide = std::int64_t{1} << 24;

// A type that images come in, sides of 1..kMaxSide, contiguous.
void check_images_out(const char* op, const Tensor& out);

// That `out` shares no memory with another tensor; both are contiguous.
void check_apart(const char* op, const Tensor& out, const char* name, const Tensor& other);

}  // namespace yf::torch_ops
