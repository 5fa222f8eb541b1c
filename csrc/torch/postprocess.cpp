// torch.ops.yolofast.postprocess: a detector's raw output to detections, padded to max_det rows per image.
#include "core/boxes/postprocess.hpp"

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "torch/device.hpp"
#include "torch/registration.hpp"

#if defined(YOLOFAST_TORCH_CUDA)
#include "cuda/postprocess.hpp"
#endif

namespace yf::torch_ops {
namespace {

constexpr const char* kOp = "postprocess";

// A byte per class, 1 for those asked for.
std::vector<std::uint8_t> wanted_classes(const std::vector<std::int64_t>& classes, std::int64_t count) {
    std::vector<std::uint8_t> wanted(static_cast<std::size_t>(count), 0);
    for (const std::int64_t label : classes) {
        if (label < 0 || label >= count) {
            fail(kOp, ": classes names class ", label, "; expected classes from 0 to ", count - 1);
        }
        wanted[static_cast<std::size_t>(label)] = 1;
    }
    return wanted;
}

struct PostprocessArguments {
    // raw is [B, 4 + C, A].
    PostprocessArguments(const Tensor& raw, double conf, double iou, std::int64_t max_detections,
                         const std::optional<std::vector<std::int64_t>>& asked, bool agnostic,
                         bool multi_label, std::int64_t max_candidates)
        : images(raw.size(0)), classes(raw.size(1) - 4), anchors(raw.size(2)), max_det(max_detections) {
        if (classes < 1) {
            fail(kOp, ": raw has shape [", images, ", ", raw.size(1), ", ", anchors,
                 "]; expected [B, 4 + C, A] with at least one class");
        }
        check_fraction(kOp, "conf", conf);
        check_fraction(kOp, "iou", iou);
        if (max_det < 1 || max_candidates < 1) {
            fail(kOp, ": max_det is ", max_det, " and max_candidates is ", max_candidates,
                 "; expected at least 1");
        }
        if (asked) wanted = wanted_classes(*asked, classes);
        options.conf = static_cast<float>(conf);
        options.iou = iou;
        options.max_det = static_cast<std::size_t>(max_det);
        // There are no more than these, whatever limit was asked for.
        const std::int64_t all = std::max<std::int64_t>(classes * anchors, 1);
        options.max_candidates = static_cast<std::size_t>(std::min(max_candidates, all));
        options.agnostic = agnostic;
        options.multi_label = multi_label;
        options.wanted = asked ? wanted.data() : nullptr;
    }
    PostprocessArguments(const PostprocessArguments&) = delete;  // `options` points into `wanted`
    PostprocessArguments& operator=(const PostprocessArguments&) = delete;

    std::int64_t images, classes, anchors, max_det;
    std::vector<std::uint8_t> wanted;
    PostprocessOptions options;
};

struct Detections {
    Tensor boxes, scores, labels, counts;

    Detections(const Tensor& like, std::int64_t images, std::int64_t max_det)
        : boxes(new_tensor(like, {images, max_det, 4}, kFloat)),
          scores(new_tensor(like, {images, max_det}, kFloat)),
          labels(new_tensor(like, {images, max_det}, kLong)),
          counts(new_tensor(like, {images}, kLong)) {}
};

#if defined(YOLOFAST_TORCH_CUDA)

Detections detect(const Tensor& raw, const PostprocessArguments& given, const OperatorDevice& device) {
    const cuda::PostprocessShape shape{given.images, given.classes, given.anchors};
    if (!cuda::postprocess_fits(shape)) {
        fail(kOp, ": raw has shape [", given.images, ", ", raw.size(1), ", ", given.anchors,
             "]; expected less than 2^31 scores per image, and fewer images: split the batch");
    }
    Detections found(raw, given.images, given.max_det);
    const Tensor workspace = new_workspace(raw, cuda::postprocess_workspace(shape, given.options));
    check_cuda(kOp, cuda::postprocess(input<float>(raw), shape, given.options, workspace.mutable_data_ptr(),
                                      output<float>(found.boxes), output<float>(found.scores),
                                      output<std::int64_t>(found.labels), output<std::int64_t>(found.counts),
                                      device.stream()));
    return found;
}

#else

Detections detect(const Tensor& raw, const PostprocessArguments& given, const OperatorDevice&) {
    Detections found(raw, given.images, given.max_det);
    const std::int64_t values = (4 + given.classes) * given.anchors, max_det = given.max_det;
    torch::stable::parallel_for(0, given.images, 1, [&](std::int64_t begin, std::int64_t end) {
        PostprocessBuffers buffers;
        for (std::int64_t i = begin; i < end; ++i) {
            float* const boxes = output<float>(found.boxes) + i * max_det * 4;
            float* const scores = output<float>(found.scores) + i * max_det;
            std::int64_t* const labels = output<std::int64_t>(found.labels) + i * max_det;
            const std::size_t count = yf::postprocess(
                input<float>(raw) + i * values, static_cast<std::size_t>(given.classes),
                static_cast<std::size_t>(given.anchors), given.options, buffers, boxes, scores, labels);
            std::fill(boxes + 4 * count, boxes + 4 * max_det, 0.0f);
            std::fill(scores + count, scores + max_det, 0.0f);
            std::fill(labels + count, labels + max_det, -1);
            output<std::int64_t>(found.counts)[i] = static_cast<std::int64_t>(count);
        }
    });
    return found;
}

#endif

std::tuple<Tensor, Tensor, Tensor, Tensor> postprocess(
    const Tensor& raw_given, double conf, double iou, std::int64_t max_det,
    const std::optional<std::vector<std::int64_t>>& classes, bool agnostic, bool multi_label,
    std::int64_t max_candidates) {
    const OperatorDevice device({&raw_given});
    const Tensor raw = checked_tensor(kOp, "raw", raw_given, device.index(), {kFloat}, {kAny, kAny, kAny});
    const PostprocessArguments given(raw, conf, iou, max_det, classes, agnostic, multi_label, max_candidates);
    const Detections found = detect(raw, given, device);
    return {found.boxes, found.scores, found.labels, found.counts};
}

YF_SCHEMAS(m) {
    // raw float32 [B, 4 + C, A] -> boxes float32 [B, max_det, 4], scores float32 [B, max_det],
    // classes int64 [B, max_det], counts int64 [B]
    m.def(
        "postprocess(Tensor raw, *, float conf=0.001, float iou=0.7, int max_det=300, int[]? classes=None, "
        "bool agnostic=False, bool multi_label=True, int max_candidates=30000) "
        "-> (Tensor, Tensor, Tensor, Tensor)");
}

YF_KERNELS(m) { m.impl("postprocess", TORCH_BOX(&postprocess)); }

}  // namespace
}  // namespace yf::torch_ops
