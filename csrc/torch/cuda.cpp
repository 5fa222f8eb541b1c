// torch.ops.yolofast.* on CUDA tensors: checks, allocation, and calls into csrc/cuda on the current stream. A
// library of its own, so that a machine without CUDA never opens it.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "cuda/box_iou.hpp"
#include "cuda/box_transforms.hpp"
#include "cuda/match.hpp"
#include "cuda/nms.hpp"
#include "cuda/postprocess.hpp"
#include "torch/checks.hpp"
#include "torch/device.hpp"
#include "torch/match_arguments.hpp"
#include "torch/postprocess_arguments.hpp"

namespace yf::torch_ops {
namespace {

constexpr ScalarType kFloat = ScalarType::Float;
constexpr ScalarType kDouble = ScalarType::Double;
constexpr ScalarType kLong = ScalarType::Long;
constexpr std::int64_t kMostBoxes = std::int64_t{1} << 30;

void check_cuda(const char* op, cudaError_t status) {
    if (status != cudaSuccess) fail(op, ": CUDA says: ", cudaGetErrorString(status));
}

template <typename T>
const T* input(const Tensor& tensor) {
    return static_cast<const T*>(tensor.const_data_ptr());
}

template <typename T>
T* output(const Tensor& tensor) {
    return static_cast<T*>(tensor.mutable_data_ptr());
}

Tensor new_tensor(const Tensor& like, std::initializer_list<std::int64_t> shape, ScalarType dtype) {
    return torch::stable::new_empty(like, shape, dtype);
}

template <typename T>
void box_iou_into(const Tensor& a, const Tensor& b, IouKind kind, bool elementwise, const Tensor& out,
                  cudaStream_t stream) {
    const std::int64_t n = a.size(0), m = b.size(0);
    check_cuda("box_iou",
               elementwise
                   ? cuda::box_iou_elementwise(input<T>(a), input<T>(b), n, kind, output<T>(out), stream)
                   : cuda::box_iou(input<T>(a), n, input<T>(b), m, kind, output<T>(out), stream));
}

Tensor box_iou(const Tensor& a_given, const Tensor& b_given, const std::string& kind_name, bool elementwise) {
    // The dispatcher comes here when any of the tensors is on a CUDA device.
    const OnDeviceOf device(a_given.is_cuda() ? a_given : b_given);
    const Tensor a = device_tensor("box_iou", "a", a_given, device.index(), {kFloat, kDouble}, {kAny, 4});
    const Tensor b = device_tensor("box_iou", "b", b_given, device.index(), {a.scalar_type()},
                                   {elementwise ? a.size(0) : kAny, 4});
    const IouKind kind = iou_kind(kind_name);
    const Tensor out = elementwise ? new_tensor(a, {a.size(0)}, a.scalar_type())
                                   : new_tensor(a, {a.size(0), b.size(0)}, a.scalar_type());
    if (a.scalar_type() == kFloat) {
        box_iou_into<float>(a, b, kind, elementwise, out, device.stream());
    } else {
        box_iou_into<double>(a, b, kind, elementwise, out, device.stream());
    }
    return out;
}

Tensor transform_boxes(const Tensor& boxes_given, const Tensor& matrix_given,
                       const std::optional<std::vector<double>>& clip) {
    const char* const op = "transform_boxes";
    const OnDeviceOf device(boxes_given.is_cuda() ? boxes_given : matrix_given);
    const Tensor boxes =
        device_tensor(op, "boxes", boxes_given, device.index(), {kFloat, kDouble}, {kAny, 4});
    const bool affine = matrix_given.dim() == 2 && matrix_given.size(0) == 2;
    const Tensor matrix =
        device_tensor(op, "matrix", matrix_given, device.index(), {kFloat, kDouble}, {affine ? 2 : 3, 3});
    const std::optional<Size> size = clip_size(clip);
    const Size* const limit = size ? &*size : nullptr;
    const cuda::Matrix numbers{matrix.const_data_ptr(), matrix.scalar_type() == kDouble, affine ? 6 : 9};
    const std::int64_t n = boxes.size(0);
    const Tensor out = new_tensor(boxes, {n, 4}, boxes.scalar_type());
    check_cuda(op, boxes.scalar_type() == kFloat
                       ? cuda::transform_boxes(input<float>(boxes), n, numbers, limit, output<float>(out),
                                               device.stream())
                       : cuda::transform_boxes(input<double>(boxes), n, numbers, limit, output<double>(out),
                                               device.stream()));
    return out;
}

const Tensor& one_on_cuda(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& classes) {
    if (boxes.is_cuda()) return boxes;
    return scores.is_cuda() || !classes ? scores : *classes;
}

// How long the result is, only the values tell: the host waits for that one number.
std::int64_t read_count(const char* op, const Tensor& count, cudaStream_t stream) {
    std::int64_t value = 0;
    check_cuda(op,
               cudaMemcpyAsync(&value, count.const_data_ptr(), sizeof value, cudaMemcpyDeviceToHost, stream));
    check_cuda(op, cudaStreamSynchronize(stream));
    return value;
}

Tensor suppress(const char* op, const Tensor& boxes_given, const Tensor& scores_given,
                const std::optional<Tensor>& classes_given, double iou_threshold) {
    const OnDeviceOf device(one_on_cuda(boxes_given, scores_given, classes_given));
    const Tensor boxes = device_tensor(op, "boxes", boxes_given, device.index(), {kFloat}, {kAny, 4});
    const std::int64_t n = boxes.size(0);
    const Tensor scores = device_tensor(op, "scores", scores_given, device.index(), {kFloat}, {n});
    std::optional<Tensor> classes;
    if (classes_given) classes = device_tensor(op, "classes", *classes_given, device.index(), {kLong}, {n});
    check_fraction(op, "iou_threshold", iou_threshold);
    if (n > kMostBoxes) fail(op, ": boxes has shape [", n, ", 4]; expected at most ", kMostBoxes, " boxes");
    Tensor keep = new_tensor(boxes, {n}, kLong);
    if (n == 0) return keep;

    std::size_t bytes = 0;
    check_cuda(op, cuda::nms_workspace(n, &bytes));
    const Tensor workspace = new_tensor(boxes, {static_cast<std::int64_t>(bytes)}, ScalarType::Byte);
    const Tensor count = new_tensor(boxes, {1}, kLong);
    check_cuda(op, cuda::nms(input<float>(boxes), input<float>(scores),
                             classes ? input<std::int64_t>(*classes) : nullptr, n, iou_threshold,
                             workspace.mutable_data_ptr(), output<std::int64_t>(keep),
                             output<std::int64_t>(count), device.stream()));
    // A copy, which holds no more memory than it needs.
    return torch::stable::clone(torch::stable::narrow(keep, 0, 0, read_count(op, count, device.stream())));
}

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold) {
    return suppress("nms", boxes, scores, std::nullopt, iou_threshold);
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& classes, double iou_threshold) {
    return suppress("batched_nms", boxes, scores, classes, iou_threshold);
}

using Padded = std::tuple<Tensor, Tensor, Tensor, Tensor>;

Padded postprocess(const Tensor& raw_given, double conf, double iou, std::int64_t max_det,
                   const std::optional<std::vector<std::int64_t>>& classes, bool agnostic, bool multi_label,
                   std::int64_t max_candidates) {
    const OnDeviceOf device(raw_given);
    const Tensor raw =
        device_tensor("postprocess", "raw", raw_given, device.index(), {kFloat}, {kAny, kAny, kAny});
    const PostprocessArguments given(raw, conf, iou, max_det, classes, agnostic, multi_label, max_candidates);
    const cuda::PostprocessShape shape{given.images, given.classes, given.anchors};
    if (!cuda::postprocess_fits(shape)) {
        fail("postprocess: raw has shape [", given.images, ", ", raw.size(1), ", ", given.anchors,
             "]; expected less than 2^31 scores an image, and fewer images: split the batch");
    }
    const Tensor boxes = new_tensor(raw, {given.images, max_det, 4}, kFloat),
                 scores = new_tensor(raw, {given.images, max_det}, kFloat),
                 labels = new_tensor(raw, {given.images, max_det}, kLong),
                 counts = new_tensor(raw, {given.images}, kLong);
    const auto bytes = static_cast<std::int64_t>(cuda::postprocess_workspace(shape, given.options));
    const Tensor workspace = new_tensor(raw, {bytes}, ScalarType::Byte);
    check_cuda("postprocess",
               cuda::postprocess(input<float>(raw), shape, given.options, workspace.mutable_data_ptr(),
                                 output<float>(boxes), output<float>(scores), output<std::int64_t>(labels),
                                 output<std::int64_t>(counts), device.stream()));
    return {boxes, scores, labels, counts};
}

cuda::MatchBoxes match_boxes(const Tensor& boxes) {
    return {boxes.const_data_ptr(), boxes.scalar_type() == kDouble};
}

const std::uint8_t* flags(const std::optional<Tensor>& tensor) {
    return tensor ? input<std::uint8_t>(*tensor) : nullptr;
}

const Tensor& one_on_cuda(const MatchGiven& given) {
    for (const Tensor* tensor : {&given.boxes, &given.scores, &given.classes, &given.counts, &given.gt_boxes,
                                 &given.gt_classes, &given.gt_counts}) {
        if (tensor->is_cuda()) return *tensor;
    }
    for (const std::optional<Tensor>* tensor : {&given.gt_crowd, &given.gt_ignore, &given.dt_ignore}) {
        if (*tensor && (*tensor)->is_cuda()) return **tensor;
    }
    return given.boxes;
}

std::tuple<Tensor, Tensor, Tensor> match_detections(
    const Tensor& boxes, const Tensor& scores, const Tensor& classes, const Tensor& counts,
    const Tensor& gt_boxes, const Tensor& gt_classes, const Tensor& gt_counts,
    const std::vector<double>& thresholds, const std::optional<Tensor>& gt_crowd,
    const std::optional<Tensor>& gt_ignore, const std::optional<Tensor>& dt_ignore, std::int64_t max_det) {
    const char* const op = "match_detections";
    const MatchGiven all{boxes,      scores,    classes,  counts,    gt_boxes,
                         gt_classes, gt_counts, gt_crowd, gt_ignore, dt_ignore};
    const OnDeviceOf device(one_on_cuda(all));
    const auto check = [&](const char* name, const Tensor& tensor, std::initializer_list<ScalarType> dtypes,
                           std::initializer_list<std::int64_t> shape) {
        return device_tensor(op, name, tensor, device.index(), dtypes, shape);
    };
    const MatchArguments given(all, thresholds, max_det, check);
    const std::int64_t images = given.images, rows = given.detections;
    if (!cuda::match_fits(images, rows, given.truths)) {
        fail(op, ": boxes has shape [", images, ", ", rows, ", 4] and gt_boxes [", images, ", ", given.truths,
             ", 4]; expected less than 2^31 boxes an image, and fewer images: split the batch");
    }
    cuda::MatchThresholds levels{};
    std::copy(thresholds.begin(), thresholds.end(), levels.values);
    levels.count = static_cast<int>(thresholds.size());
    const Tensor ranks = new_tensor(given.boxes, {images, rows}, kLong),
                 found = new_tensor(given.boxes, {images, rows, levels.count}, kLong),
                 ignored = new_tensor(given.boxes, {images, rows, levels.count}, ScalarType::Bool);
    const auto bytes =
        static_cast<std::int64_t>(cuda::match_workspace(images, rows, given.truths, levels.count));
    const Tensor workspace = new_tensor(given.boxes, {bytes}, ScalarType::Byte);
    const cuda::MatchRows detections{match_boxes(given.boxes), input<std::int64_t>(given.classes),
                                     input<std::int64_t>(given.counts), flags(given.dt_ignore), rows};
    const cuda::MatchRows truths{match_boxes(given.gt_boxes), input<std::int64_t>(given.gt_classes),
                                 input<std::int64_t>(given.gt_counts), flags(given.gt_ignore), given.truths};
    check_cuda(op,
               cuda::match_detections(
                   images, detections, input<float>(given.scores), truths, flags(given.gt_crowd), levels,
                   max_det, workspace.mutable_data_ptr(),
                   {output<std::int64_t>(ranks), output<std::int64_t>(found), output<std::uint8_t>(ignored)},
                   device.stream()));
    return {ranks, found, ignored};
}

}  // namespace
}  // namespace yf::torch_ops

YF_APPLY(STABLE_TORCH_LIBRARY_IMPL, YF_OPERATORS, YF_DISPATCH_KEY, m) {
    m.impl("box_iou", TORCH_BOX(&yf::torch_ops::box_iou));
    m.impl("transform_boxes", TORCH_BOX(&yf::torch_ops::transform_boxes));
    m.impl("nms", TORCH_BOX(&yf::torch_ops::nms));
    m.impl("batched_nms", TORCH_BOX(&yf::torch_ops::batched_nms));
    m.impl("postprocess", TORCH_BOX(&yf::torch_ops::postprocess));
    m.impl("match_detections", TORCH_BOX(&yf::torch_ops::match_detections));
}
