// What the operators ask of their arguments. Errors are std::runtime_error (RuntimeError in Python) and say
// what came and what was wanted.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/boxes/box_transforms.hpp"
#include "core/boxes/boxes.hpp"

namespace yf::torch_ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
    std::ostringstream message;
    (message << ... << parts);
    throw std::runtime_error(message.str());
}

constexpr std::int64_t kAny = -1;

// A contiguous CPU tensor of one of `dtypes`; sizes as in `shape`, where kAny stands for every length.
Tensor cpu_tensor(const char* op, const char* name, const Tensor& tensor,
                  std::initializer_list<ScalarType> dtypes, std::initializer_list<std::int64_t> shape);

// The same on the CUDA device of that index, where the first argument is; -1 is the CPU.
Tensor device_tensor(const char* op, const char* name, const Tensor& tensor, std::int32_t device,
                     std::initializer_list<ScalarType> dtypes, std::initializer_list<std::int64_t> shape);

IouKind iou_kind(const std::string& name);  // box_iou's `kind`

// transform_boxes' `clip`: (width, height).
std::optional<Size> clip_size(const std::optional<std::vector<double>>& clip);

void check_fraction(const char* op, const char* name, double value);  // from 0 to 1

}  // namespace yf::torch_ops
