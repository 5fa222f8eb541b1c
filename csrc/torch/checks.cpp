#include "torch/checks.hpp"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace yf::torch_ops {
namespace {

const char* dtype_name(ScalarType type) {
    switch (type) {
        case ScalarType::Float:
            return "float32";
        case ScalarType::Double:
            return "float64";
        case ScalarType::Half:
            return "float16";
        case ScalarType::BFloat16:
            return "bfloat16";
        case ScalarType::Long:
            return "int64";
        default:
            return torch::headeronly::toString(type);
    }
}

std::string wanted_dtypes(std::initializer_list<ScalarType> dtypes) {
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
    return std::equal(shape.begin(), shape.end(), tensor.sizes().begin(),
                      [](std::int64_t wanted, std::int64_t got) { return wanted == kAny || wanted == got; });
}

Tensor checked(const char* op, const char* name, const Tensor& tensor,
               std::initializer_list<ScalarType> dtypes, std::initializer_list<std::int64_t> shape) {
    const ScalarType dtype = tensor.scalar_type();
    if (std::find(dtypes.begin(), dtypes.end(), dtype) == dtypes.end()) {
        fail(op, ": ", name, " has dtype ", dtype_name(dtype), "; expected ", wanted_dtypes(dtypes),
             ": convert it with .to()");
    }
    if (!fits(tensor, shape)) {
        fail(op, ": ", name, " has shape ", shape_text(tensor.sizes()), "; expected ", shape_text(shape));
    }
    return torch::stable::contiguous(tensor);
}

std::string place_of(const Tensor& tensor) {
    if (tensor.is_cpu()) return "the CPU";
    if (tensor.is_cuda()) return "cuda:" + std::to_string(tensor.get_device_index());
    return "another kind of device";
}

}  // namespace

Tensor cpu_tensor(const char* op, const char* name, const Tensor& tensor,
                  std::initializer_list<ScalarType> dtypes, std::initializer_list<std::int64_t> shape) {
    if (!tensor.is_cpu()) {
        fail(op, ": ", name, " is not on the CPU, as other arguments are; expected all on one device");
    }
    return checked(op, name, tensor, dtypes, shape);
}

Tensor device_tensor(const char* op, const char* name, const Tensor& tensor, std::int32_t device,
                     std::initializer_list<ScalarType> dtypes, std::initializer_list<std::int64_t> shape) {
    const bool there = device < 0 ? tensor.is_cpu() : tensor.is_cuda() && tensor.get_device_index() == device;
    if (!there) {
        fail(op, ": ", name, " is on ", place_of(tensor), ", other arguments are on cuda:", device,
             "; expected all on one device");
    }
    return checked(op, name, tensor, dtypes, shape);
}

IouKind iou_kind(const std::string& name) {
    constexpr std::array kNames{"iou", "giou", "diou", "ciou"};
    for (std::size_t i = 0; i < kNames.size(); ++i) {
        if (name == kNames[i]) return static_cast<IouKind>(i);
    }
    fail("box_iou: kind is '", name, "'; expected one of iou, giou, diou, ciou");
}

void check_fraction(const char* op, const char* name, double value) {
    if (!(value >= 0.0 && value <= 1.0))
        fail(op, ": ", name, " is ", value, "; expected a number from 0 to 1");
}

std::optional<Size> clip_size(const std::optional<std::vector<double>>& clip) {
    if (!clip) return std::nullopt;
    if (clip->size() != 2)
        fail("transform_boxes: clip has ", clip->size(), " values; expected (width, height)");
    const Size size{(*clip)[0], (*clip)[1]};
    if (!(size.width > 0 && size.height > 0)) {
        fail("transform_boxes: clip is ", size.width, " x ", size.height,
             "; expected positive width and height");
    }
    return size;
}

}  // namespace yf::torch_ops
