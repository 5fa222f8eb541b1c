// torch.ops.yolofast.soft_nms: lowers the scores of boxes that overlap better ones. On the CPU alone.
#include "torch/registration.hpp"

#if !defined(YOLOFAST_TORCH_CUDA)

#include <cmath>
#include <string>
#include <tuple>

#include "core/boxes/soft_nms.hpp"
#include "torch/scored_boxes.hpp"

namespace yf::torch_ops {
namespace {

SoftNmsMethod soft_nms_method(const std::string& name) {
    if (name == "linear") return SoftNmsMethod::linear;
    if (name == "gaussian") return SoftNmsMethod::gaussian;
    fail("soft_nms: method is '", name, "'; expected one of linear, gaussian");
}

std::tuple<Tensor, Tensor> soft_nms(const Tensor& boxes, const Tensor& scores,
                                    const std::optional<Tensor>& classes, const std::string& method,
                                    double sigma, double iou_threshold, double score_threshold) {
    const OperatorDevice device({&boxes, &scores, if_given(classes)});
    const ScoredBoxes all("soft_nms", boxes, scores, classes, device);
    check_fraction("soft_nms", "iou_threshold", iou_threshold);
    if (!(sigma > 0.0 && std::isfinite(sigma)))
        fail("soft_nms: sigma is ", sigma, "; expected a number above 0");
    if (!(score_threshold >= 0.0 && std::isfinite(score_threshold))) {
        fail("soft_nms: score_threshold is ", score_threshold, "; expected a number of at least 0");
    }
    const SoftNmsOptions options{soft_nms_method(method), sigma, iou_threshold, score_threshold};
    const auto softened = [&]<typename Real>(const Real* boxes) -> std::tuple<Tensor, Tensor> {
        std::vector<std::int64_t> keep(all.count());
        std::vector<Real> lowered(all.count());
        const std::size_t kept = yf::soft_nms(boxes, input<Real>(all.scores), all.labels(), all.count(),
                                              options, keep.data(), lowered.data());
        return {first_values(keep, kept, all.boxes, kLong),
                first_values(lowered, kept, all.boxes, all.boxes.scalar_type())};
    };
    return all.is_double() ? softened(input<double>(all.boxes)) : softened(input<float>(all.boxes));
}

YF_SCHEMAS(m) {
    // boxes [N, 4] xyxy, scores [N], classes int64 [N] -> indices int64 [K], scores [K]
    m.def(
        "soft_nms(Tensor boxes, Tensor scores, Tensor? classes=None, *, str method='linear', "
        "float sigma=0.5, float iou_threshold=0.3, float score_threshold=0.001) -> (Tensor, Tensor)");
}

YF_KERNELS(m) { m.impl("soft_nms", TORCH_BOX(&soft_nms)); }

}  // namespace
}  // namespace yf::torch_ops

#endif
