// What the operators do with tensors: check them, read them, make new ones. Errors are std::runtime_error
// (RuntimeError in Python) and say what came and what was wanted.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <string>

namespace yf::torch_ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr ScalarType kByte = ScalarType::Byte;
constexpr ScalarType kBool = ScalarType::Bool;
constexpr ScalarType kFloat = ScalarType::Float;
constexpr ScalarType kDouble = ScalarType::Double;
constexpr ScalarType kLong = ScalarType::Long;

template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
    std::ostringstream message;
    (message << ... << parts);
    throw std::runtime_error(message.str());
}

constexpr std::int64_t kAny = -1;        // a length that may be anything
constexpr std::int32_t kCpuDevice = -1;  // the device index that stands for the CPU

const char* dtype_name(ScalarType type);  // as torch and numpy call it in Python: int32, not Int

// `tensor`, contiguous, of one of `dtypes` and of sizes as in `shape`, on the CUDA device of that index or on
// the CPU.
Tensor checked_tensor(const char* op, const char* name, const Tensor& tensor, std::int32_t device,
                      std::initializer_list<ScalarType> dtypes, std::initializer_list<std::int64_t> shape);

void check_fraction(const char* op, const char* name, double value);  // from 0 to 1

template <typename T>
const T* input(const Tensor& tensor) {
    return static_cast<const T*>(tensor.const_data_ptr());
}

template <typename T>
T* output(const Tensor& tensor) {
    return static_cast<T*>(tensor.mutable_data_ptr());
}

// Uninitialised, on the device of `like`.
inline Tensor new_tensor(const Tensor& like, std::initializer_list<std::int64_t> shape, ScalarType dtype) {
    return torch::stable::new_empty(like, shape, dtype);
}

}  // namespace yf::torch_ops
