// See tensors.hpp.
#include "torch/tensors.hpp"

#include <algorithm>

namespace yf::torch_ops {

const char* dtype_name(ScalarType type) {
    switch (type) {
        case ScalarType::Bool:
            return "bool";
        case ScalarType::Byte:
            return "uint8";
        case ScalarType::Char:
            return "int8";
        case ScalarType::Short:
            return "int16";
        case ScalarType::Int:
            return "int32";
        case ScalarType::Long:
            return "int64";
        case ScalarType::Half:
            return "float16";
        case ScalarType::BFloat16:
            return "bfloat16";
        case ScalarType::Float:
            return "float32";
        case ScalarType::Double:
            return "float64";
        case ScalarType::ComplexFloat:
            return "complex64";
        case ScalarType::ComplexDouble:
            return "complex128";
        default:
            return torch::headeronly::toString(type);
    }
}

namespace {

std::string expected_dtypes(std::initializer_list<ScalarType> dtypes) {
    std::string text;
    for (const ScalarType type : dtypes) text += (text.empty() ? "" : " or ") + std::string(dtype_name(type));
    return text;
}

template <typename Sizes>
std::string shape_text(const Sizes& sizes) {
    std::string text = "[";
    for (const std::int64_t size : sizes) {
        if (text.size() > 1) text += ", ";
        text += size == kAny ? "*" : std::to_string(size);
    }
    return text + "]";
}

bool fits(const Tensor& tensor, std::initializer_list<std::int64_t> shape) {
    if (tensor.dim() != static_cast<std::int64_t>(shape.size())) return false;
    return std::equal(
        shape.begin(), shape.end(), tensor.sizes().begin(),
        [](std::int64_t expected, std::int64_t got) { return expected == kAny || expected == got; });
}

std::string device_name(const Tensor& tensor) {
    if (tensor.is_cpu()) return "the CPU";
    if (tensor.is_cuda()) return "cuda:" + std::to_string(tensor.get_device_index());
    return "another kind of device";
}

void check_device(const char* op, const char* name, const Tensor& tensor, std::int32_t device) {
    if (device == kCpuDevice) {
        if (tensor.is_cpu()) return;
        fail(op, ": ", name, " is not on the CPU, as other arguments are; expected all on one device");
    }
    if (tensor.is_cuda() && tensor.get_device_index() == device) return;
    fail(op, ": ", name, " is on ", device_name(tensor), ", other arguments are on cuda:", device,
         "; expected all on one device");
}

}  // namespace

Tensor checked_tensor(const char* op, const char* name, const Tensor& tensor, std::int32_t device,
                      std::initializer_list<ScalarType> dtypes, std::initializer_list<std::int64_t> shape) {
    check_device(op, name, tensor, device);
    const ScalarType dtype = tensor.scalar_type();
    if (std::find(dtypes.begin(), dtypes.end(), dtype) == dtypes.end()) {
        fail(op, ": ", name, " has dtype ", dtype_name(dtype), "; expected ", expected_dtypes(dtypes),
             ": convert it with .to()");
    }
    if (!fits(tensor, shape)) {
        fail(op, ": ", name, " has shape ", shape_text(tensor.sizes()), "; expected ", shape_text(shape));
    }
    return torch::stable::contiguous(tensor);
}

void check_fraction(const char* op, const char* name, double value) {
    if (!(value >= 0.0 && value <= 1.0))
        fail(op, ": ", name, " is ", value, "; expected a number from 0 to 1");
}

}  // namespace yf::torch_ops
