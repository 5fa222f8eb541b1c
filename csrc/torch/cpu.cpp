// torch.ops.yolofast.* on CPU tensors: checks, allocation, and calls into csrc/core.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/boxes/box_transforms.hpp"
#include "core/boxes/boxes.hpp"
#include "core/boxes/nms.hpp"
#include "core/boxes/postprocess.hpp"
#include "core/boxes/soft_nms.hpp"
#include "torch/checks.hpp"
#include "torch/postprocess_arguments.hpp"

namespace yf::torch_ops {
namespace {

constexpr ScalarType kFloat = ScalarType::Float;
constexpr ScalarType kDouble = ScalarType::Double;
constexpr ScalarType kLong = ScalarType::Long;

template <typename T>
const T* input(const Tensor& tensor) {
    return static_cast<const T*>(tensor.const_data_ptr());
}

template <typename T>
T* output(const Tensor& tensor) {
    return static_cast<T*>(tensor.mutable_data_ptr());
}

Tensor new_tensor(std::initializer_list<std::int64_t> shape, ScalarType dtype) {
    return torch::stable::empty(shape, dtype);
}

// The first `count` values as a tensor that holds no more than them.
template <typename T>
Tensor first(const std::vector<T>& values, std::size_t count, ScalarType dtype) {
    const Tensor out = new_tensor({static_cast<std::int64_t>(count)}, dtype);
    if (count > 0) std::memcpy(out.mutable_data_ptr(), values.data(), count * sizeof(T));
    return out;
}

template <typename T>
void box_iou_into(const Tensor& a, const Tensor& b, IouKind kind, bool elementwise, const Tensor& out) {
    const auto n = static_cast<std::size_t>(a.size(0)), m = static_cast<std::size_t>(b.size(0));
    if (elementwise) return yf::box_iou_elementwise(input<T>(a), input<T>(b), n, kind, output<T>(out));
    yf::box_iou(input<T>(a), n, input<T>(b), m, kind, output<T>(out));
}

Tensor box_iou(const Tensor& a_given, const Tensor& b_given, const std::string& kind_name, bool elementwise) {
    const Tensor a = cpu_tensor("box_iou", "a", a_given, {kFloat, kDouble}, {kAny, 4});
    const Tensor b =
        cpu_tensor("box_iou", "b", b_given, {a.scalar_type()}, {elementwise ? a.size(0) : kAny, 4});
    const IouKind kind = iou_kind(kind_name);
    const Tensor out = elementwise ? new_tensor({a.size(0)}, a.scalar_type())
                                   : new_tensor({a.size(0), b.size(0)}, a.scalar_type());
    if (a.scalar_type() == kFloat) {
        box_iou_into<float>(a, b, kind, elementwise, out);
    } else {
        box_iou_into<double>(a, b, kind, elementwise, out);
    }
    return out;
}

// Row by row, with the last row of an affine matrix filled in.
std::array<double, 9> full_matrix(const Tensor& matrix) {
    std::array<double, 9> full{0, 0, 0, 0, 0, 0, 0, 0, 1};
    for (std::int64_t i = 0; i < matrix.numel(); ++i) {
        full[i] = matrix.scalar_type() == kFloat ? input<float>(matrix)[i] : input<double>(matrix)[i];
    }
    return full;
}

Tensor transform_boxes(const Tensor& boxes_given, const Tensor& matrix_given,
                       const std::optional<std::vector<double>>& clip) {
    const Tensor boxes = cpu_tensor("transform_boxes", "boxes", boxes_given, {kFloat, kDouble}, {kAny, 4});
    const bool affine = matrix_given.dim() == 2 && matrix_given.size(0) == 2;
    const std::array<double, 9> matrix = full_matrix(
        cpu_tensor("transform_boxes", "matrix", matrix_given, {kFloat, kDouble}, {affine ? 2 : 3, 3}));
    const std::optional<Size> size = clip_size(clip);
    const Tensor out = new_tensor({boxes.size(0), 4}, boxes.scalar_type());
    const auto n = static_cast<std::size_t>(boxes.size(0));
    const Size* limit = size ? &*size : nullptr;
    if (boxes.scalar_type() == kFloat) {
        yf::transform_boxes(input<float>(boxes), n, matrix.data(), limit, output<float>(out));
    } else {
        yf::transform_boxes(input<double>(boxes), n, matrix.data(), limit, output<double>(out));
    }
    return out;
}

// The tensors that every suppression takes, checked.
struct Scored {
    Tensor boxes, scores;
    std::optional<Tensor> classes;

    Scored(const char* op, const Tensor& boxes_given, const Tensor& scores_given,
           const std::optional<Tensor>& classes_given)
        : boxes(cpu_tensor(op, "boxes", boxes_given, {kFloat}, {kAny, 4})),
          scores(cpu_tensor(op, "scores", scores_given, {kFloat}, {boxes.size(0)})) {
        if (classes_given) classes = cpu_tensor(op, "classes", *classes_given, {kLong}, {boxes.size(0)});
    }

    std::size_t count() const { return static_cast<std::size_t>(boxes.size(0)); }
    const std::int64_t* labels() const { return classes ? input<std::int64_t>(*classes) : nullptr; }
};

Tensor suppress(const char* op, const Tensor& boxes, const Tensor& scores,
                const std::optional<Tensor>& classes, double iou_threshold) {
    const Scored all(op, boxes, scores, classes);
    check_fraction(op, "iou_threshold", iou_threshold);
    std::vector<std::int64_t> keep(all.count());
    const std::size_t kept = yf::nms(input<float>(all.boxes), input<float>(all.scores), all.labels(),
                                     all.count(), iou_threshold, keep.data());
    return first(keep, kept, kLong);
}

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold) {
    return suppress("nms", boxes, scores, std::nullopt, iou_threshold);
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& classes, double iou_threshold) {
    return suppress("batched_nms", boxes, scores, classes, iou_threshold);
}

SoftNmsMethod soft_nms_method(const std::string& name) {
    if (name == "linear") return SoftNmsMethod::linear;
    if (name == "gaussian") return SoftNmsMethod::gaussian;
    fail("soft_nms: method is '", name, "'; expected one of linear, gaussian");
}

std::tuple<Tensor, Tensor> soft_nms(const Tensor& boxes, const Tensor& scores,
                                    const std::optional<Tensor>& classes, const std::string& method,
                                    double sigma, double iou_threshold, double score_threshold) {
    const Scored all("soft_nms", boxes, scores, classes);
    check_fraction("soft_nms", "iou_threshold", iou_threshold);
    if (!(sigma > 0.0 && std::isfinite(sigma)))
        fail("soft_nms: sigma is ", sigma, "; expected a number above 0");
    if (!(score_threshold >= 0.0 && std::isfinite(score_threshold))) {
        fail("soft_nms: score_threshold is ", score_threshold, "; expected a number of at least 0");
    }
    const SoftNmsOptions options{soft_nms_method(method), sigma, iou_threshold, score_threshold};
    std::vector<std::int64_t> keep(all.count());
    std::vector<float> lowered(all.count());
    const std::size_t kept = yf::soft_nms(input<float>(all.boxes), input<float>(all.scores), all.labels(),
                                          all.count(), options, keep.data(), lowered.data());
    return {first(keep, kept, kLong), first(lowered, kept, kFloat)};
}

using Padded = std::tuple<Tensor, Tensor, Tensor, Tensor>;

Padded postprocess(const Tensor& raw_given, double conf, double iou, std::int64_t max_det,
                   const std::optional<std::vector<std::int64_t>>& classes, bool agnostic, bool multi_label,
                   std::int64_t max_candidates) {
    const Tensor raw = cpu_tensor("postprocess", "raw", raw_given, {kFloat}, {kAny, kAny, kAny});
    const PostprocessArguments given(raw, conf, iou, max_det, classes, agnostic, multi_label, max_candidates);
    const std::int64_t images = given.images, rows = 4 + given.classes, anchors = given.anchors;
    const Tensor boxes = new_tensor({images, max_det, 4}, kFloat),
                 scores = new_tensor({images, max_det}, kFloat);
    const Tensor found = new_tensor({images, max_det}, kLong), counts = new_tensor({images}, kLong);
    torch::stable::parallel_for(0, images, 1, [&](std::int64_t begin, std::int64_t end) {
        PostprocessBuffers buffers;
        for (std::int64_t i = begin; i < end; ++i) {
            float* const image_boxes = output<float>(boxes) + i * max_det * 4;
            float* const image_scores = output<float>(scores) + i * max_det;
            std::int64_t* const image_labels = output<std::int64_t>(found) + i * max_det;
            const std::size_t count =
                yf::postprocess(input<float>(raw) + i * rows * anchors,
                                static_cast<std::size_t>(given.classes), static_cast<std::size_t>(anchors),
                                given.options, buffers, image_boxes, image_scores, image_labels);
            std::fill(image_boxes + 4 * count, image_boxes + 4 * max_det, 0.0f);
            std::fill(image_scores + count, image_scores + max_det, 0.0f);
            std::fill(image_labels + count, image_labels + max_det, -1);
            output<std::int64_t>(counts)[i] = static_cast<std::int64_t>(count);
        }
    });
    return {boxes, scores, found, counts};
}

}  // namespace
}  // namespace yf::torch_ops

STABLE_TORCH_LIBRARY_IMPL(yolofast, CPU, m) {
    m.impl("box_iou", TORCH_BOX(&yf::torch_ops::box_iou));
    m.impl("transform_boxes", TORCH_BOX(&yf::torch_ops::transform_boxes));
    m.impl("nms", TORCH_BOX(&yf::torch_ops::nms));
    m.impl("batched_nms", TORCH_BOX(&yf::torch_ops::batched_nms));
    m.impl("soft_nms", TORCH_BOX(&yf::torch_ops::soft_nms));
    m.impl("postprocess", TORCH_BOX(&yf::torch_ops::postprocess));
}
