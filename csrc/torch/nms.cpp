// torch.ops.yolofast.nms and batched_nms: greedy NMS of all boxes, or within classes.
#include "torch/registration.hpp"
#include "torch/scored_boxes.hpp"

#if defined(YOLOFAST_TORCH_CUDA)
#include "cuda/nms.hpp"
#else
#include "core/boxes/nms.hpp"
#endif

namespace yf::torch_ops {
namespace {

#if defined(YOLOFAST_TORCH_CUDA)

constexpr std::int64_t kMaxBoxes = std::int64_t{1} << 30;

// Only the values tell how long the result is: the host waits for that one number.
std::int64_t read_count(const char* op, const Tensor& count, cudaStream_t stream) {
    std::int64_t value = 0;
    check_cuda(op,
               cudaMemcpyAsync(&value, count.const_data_ptr(), sizeof value, cudaMemcpyDeviceToHost, stream));
    check_cuda(op, cudaStreamSynchronize(stream));
    return value;
}

Tensor kept_indices(const char* op, const ScoredBoxes& all, double iou_threshold,
                    const OperatorDevice& device) {
    const std::int64_t n = all.boxes.size(0);
    if (n > kMaxBoxes) fail(op, ": boxes has shape [", n, ", 4]; expected at most ", kMaxBoxes, " boxes");
    Tensor keep = new_tensor(all.boxes, {n}, kLong);
    if (n == 0) return keep;
    std::size_t bytes = 0;
    check_cuda(op, cuda::nms_workspace(n, &bytes));
    const Tensor workspace = new_workspace(all.boxes, bytes);
    const Tensor count = new_tensor(all.boxes, {1}, kLong);
    check_cuda(op, cuda::nms(input<float>(all.boxes), input<float>(all.scores), all.labels(), n,
                             iou_threshold, workspace.mutable_data_ptr(), output<std::int64_t>(keep),
                             output<std::int64_t>(count), device.stream()));
    // A copy, which holds no more memory than it needs.
    return torch::stable::clone(torch::stable::narrow(keep, 0, 0, read_count(op, count, device.stream())));
}

#else

Tensor kept_indices(const char*, const ScoredBoxes& all, double iou_threshold, const OperatorDevice&) {
    std::vector<std::int64_t> keep(all.count());
    const auto kept_of = [&]<typename Real>(const Real* boxes) {
        return yf::nms(boxes, input<Real>(all.scores), all.labels(), all.count(), iou_threshold, keep.data());
    };
    const std::size_t kept =
        all.is_double() ? kept_of(input<double>(all.boxes)) : kept_of(input<float>(all.boxes));
    return first_values(keep, kept, all.boxes, kLong);
}

#endif

Tensor nms_of(const char* op, const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& classes,
              double iou_threshold) {
    const OperatorDevice device({&boxes, &scores, if_given(classes)});
    const ScoredBoxes all(op, boxes, scores, classes, device);
    check_fraction(op, "iou_threshold", iou_threshold);
    return kept_indices(op, all, iou_threshold, device);
}

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold) {
    return nms_of("nms", boxes, scores, std::nullopt, iou_threshold);
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& classes, double iou_threshold) {
    return nms_of("batched_nms", boxes, scores, classes, iou_threshold);
}

YF_SCHEMAS(m) {
    // boxes [N, 4] xyxy, scores [N], classes int64 [N] -> indices int64 [K], best first
    m.def("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor");
    m.def("batched_nms(Tensor boxes, Tensor scores, Tensor classes, float iou_threshold) -> Tensor");
}

YF_KERNELS(m) {
    m.impl("nms", TORCH_BOX(&nms));
    m.impl("batched_nms", TORCH_BOX(&batched_nms));
}

}  // namespace
}  // namespace yf::torch_ops
