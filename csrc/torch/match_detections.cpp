// torch.ops.yolofast.match_detections: COCO's matching of padded batches of detections and ground truths.
#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

#include "core/coco/match.hpp"
#include "torch/device.hpp"
#include "torch/registration.hpp"

#if defined(YOLOFAST_TORCH_CUDA)
#include "cuda/match.hpp"
#endif

namespace yf::torch_ops {
namespace {

constexpr const char* kOp = "match_detections";

// The tensors as they came.
struct MatchTensors {
    const Tensor &boxes, &scores, &classes, &counts, &gt_boxes, &gt_classes, &gt_counts;
    const std::optional<Tensor>&gt_crowd, &gt_ignore, &dt_ignore;
};

// The same, contiguous, of dtypes and shapes that fit; and what else was given.
struct MatchArguments {
    MatchArguments(const MatchTensors& given, const std::vector<double>& thresholds_given,
                   std::int64_t max_detections, std::int32_t device)
        : thresholds(thresholds_given),
          max_det(max_detections),
          boxes(check("boxes", given.boxes, device, {kFloat, kDouble}, {kAny, kAny, 4})),
          images(boxes.size(0)),
          detections(boxes.size(1)),
          scores(check("scores", given.scores, device, {kFloat}, {images, detections})),
          classes(check("classes", given.classes, device, {kLong}, {images, detections})),
          counts(check("counts", given.counts, device, {kLong}, {images})),
          gt_boxes(check("gt_boxes", given.gt_boxes, device, {kFloat, kDouble}, {images, kAny, 4})),
          truths(gt_boxes.size(1)),
          gt_classes(check("gt_classes", given.gt_classes, device, {kLong}, {images, truths})),
          gt_counts(check("gt_counts", given.gt_counts, device, {kLong}, {images})) {
        const auto flags = [&](const char* name, const std::optional<Tensor>& tensor, std::int64_t rows) {
            std::optional<Tensor> checked;
            if (tensor) checked = check(name, *tensor, device, {kBool}, {images, rows});
            return checked;
        };
        gt_crowd = flags("gt_crowd", given.gt_crowd, truths);
        gt_ignore = flags("gt_ignore", given.gt_ignore, truths);
        dt_ignore = flags("dt_ignore", given.dt_ignore, detections);
        if (thresholds.empty() || thresholds.size() > coco::kMaxThresholds) {
            fail(kOp, ": thresholds has ", thresholds.size(), " values; expected 1 to ",
                 coco::kMaxThresholds);
        }
        for (const double threshold : thresholds) check_fraction(kOp, "a threshold", threshold);
        if (max_det < 0) fail(kOp, ": max_det is ", max_det, "; expected at least 0");
    }

    static Tensor check(const char* name, const Tensor& tensor, std::int32_t device,
                        std::initializer_list<ScalarType> dtypes, std::initializer_list<std::int64_t> shape) {
        return checked_tensor(kOp, name, tensor, device, dtypes, shape);
    }

    const std::vector<double>& thresholds;
    std::int64_t max_det;
    Tensor boxes;  // [B, D, 4]
    std::int64_t images, detections;
    Tensor scores, classes, counts, gt_boxes;  // gt_boxes [B, G, 4]
    std::int64_t truths;
    Tensor gt_classes, gt_counts;
    std::optional<Tensor> gt_crowd, gt_ignore, dt_ignore;
};

struct Matches {
    Tensor ranks, ground_truths, ignored;

    explicit Matches(const MatchArguments& given)
        : Matches(given, static_cast<std::int64_t>(given.thresholds.size())) {}

  private:
    Matches(const MatchArguments& given, std::int64_t thresholds)
        : ranks(new_tensor(given.boxes, {given.images, given.detections}, kLong)),
          ground_truths(new_tensor(given.boxes, {given.images, given.detections, thresholds}, kLong)),
          ignored(new_tensor(given.boxes, {given.images, given.detections, thresholds}, kBool)) {}
};

#if defined(YOLOFAST_TORCH_CUDA)

cuda::MatchBoxes match_boxes(const Tensor& boxes) {
    return {boxes.const_data_ptr(), boxes.scalar_type() == kDouble};
}

const std::uint8_t* flags(const std::optional<Tensor>& tensor) {
    return tensor ? input<std::uint8_t>(*tensor) : nullptr;
}

Matches match(const MatchArguments& given, const OperatorDevice& device) {
    if (!cuda::match_fits(given.images, given.detections, given.truths)) {
        fail(kOp, ": boxes has shape [", given.images, ", ", given.detections, ", 4] and gt_boxes [",
             given.images, ", ", given.truths,
             ", 4]; expected less than 2^31 boxes per image, and fewer images: split the batch");
    }
    cuda::MatchThresholds levels{};
    std::copy(given.thresholds.begin(), given.thresholds.end(), levels.values);
    levels.count = static_cast<int>(given.thresholds.size());
    Matches found(given);
    const std::size_t bytes =
        cuda::match_workspace(given.images, given.detections, given.truths, levels.count);
    const Tensor workspace = new_workspace(given.boxes, bytes);
    const cuda::MatchRows detections{match_boxes(given.boxes), input<std::int64_t>(given.classes),
                                     input<std::int64_t>(given.counts), flags(given.dt_ignore),
                                     given.detections};
    const cuda::MatchRows truths{match_boxes(given.gt_boxes), input<std::int64_t>(given.gt_classes),
                                 input<std::int64_t>(given.gt_counts), flags(given.gt_ignore), given.truths};
    check_cuda(kOp, cuda::match_detections(
                        given.images, detections, input<float>(given.scores), truths, flags(given.gt_crowd),
                        levels, given.max_det, workspace.mutable_data_ptr(),
                        {output<std::int64_t>(found.ranks), output<std::int64_t>(found.ground_truths),
                         output<std::uint8_t>(found.ignored)},
                        device.stream()));
    return found;
}

#else

// The rows of an image that count, as the core wants them.
struct Rows {
    std::vector<std::int64_t> rows, classes;
    std::vector<double> boxes;  // left, top, width, height
    std::vector<double> scores;
    std::vector<std::int32_t> labels;
    std::vector<std::uint8_t> crowd, ignored;

    std::size_t size() const { return rows.size(); }
};

void add_box(const Tensor& boxes, std::int64_t at, std::vector<double>& out) {
    double corners[4];
    for (int k = 0; k < 4; ++k) {
        corners[k] = boxes.scalar_type() == ScalarType::Double
                         ? input<double>(boxes)[4 * at + k]
                         : static_cast<double>(input<float>(boxes)[4 * at + k]);
    }
    out.insert(out.end(), {corners[0], corners[1], corners[2] - corners[0], corners[3] - corners[1]});
}

std::uint8_t flag(const std::optional<Tensor>& flags, std::int64_t at) {
    return flags && input<std::uint8_t>(*flags)[at] != 0 ? 1 : 0;
}

Rows detections_of(const MatchArguments& given, std::int64_t image) {
    Rows out;
    const std::int64_t count = std::min(input<std::int64_t>(given.counts)[image], given.detections);
    for (std::int64_t row = 0; row < count; ++row) {
        const std::int64_t at = image * given.detections + row;
        const float score = input<float>(given.scores)[at];
        if (std::isnan(score)) continue;
        out.rows.push_back(row);
        out.scores.push_back(static_cast<double>(score));
        out.classes.push_back(input<std::int64_t>(given.classes)[at]);
        out.ignored.push_back(flag(given.dt_ignore, at));
        add_box(given.boxes, at, out.boxes);
    }
    return out;
}

Rows truths_of(const MatchArguments& given, std::int64_t image) {
    Rows out;
    const std::int64_t count = std::min(input<std::int64_t>(given.gt_counts)[image], given.truths);
    for (std::int64_t row = 0; row < count; ++row) {
        const std::int64_t at = image * given.truths + row;
        out.rows.push_back(row);
        out.classes.push_back(input<std::int64_t>(given.gt_classes)[at]);
        out.crowd.push_back(flag(given.gt_crowd, at));
        out.ignored.push_back(flag(given.gt_ignore, at));
        add_box(given.gt_boxes, at, out.boxes);
    }
    return out;
}

// The classes as small numbers in the same order, whatever they were.
void number_classes(Rows& detections, Rows& truths) {
    std::vector<std::int64_t> all = detections.classes;
    all.insert(all.end(), truths.classes.begin(), truths.classes.end());
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    for (Rows* const rows : {&detections, &truths}) {
        for (const std::int64_t label : rows->classes) {
            const auto number = std::lower_bound(all.begin(), all.end(), label) - all.begin();
            rows->labels.push_back(static_cast<std::int32_t>(number));
        }
    }
}

// Of one image: ranks [D], ground_truths and ignored [D, T].
struct Output {
    std::int64_t *ranks, *ground_truths;
    std::uint8_t* ignored;
};

void match_image(const MatchArguments& given, std::int64_t image, const Output& out) {
    Rows detections = detections_of(given, image), truths = truths_of(given, image);
    number_classes(detections, truths);
    const std::size_t n = detections.size(), count = given.thresholds.size();
    std::vector<std::int64_t> order(n), found(n * count);
    std::vector<std::uint8_t> ignored(n * count);
    const std::size_t counting = coco::match_image(
        {detections.boxes.data(), detections.scores.data(), detections.labels.data()},
        detections.ignored.data(), n,
        {truths.boxes.data(), truths.labels.data(), nullptr, truths.crowd.data(), nullptr},
        truths.ignored.data(), truths.size(), given.thresholds.data(), count,
        static_cast<std::size_t>(std::min<std::int64_t>(given.max_det, static_cast<std::int64_t>(n))),
        order.data(), found.data(), ignored.data());
    const auto all = static_cast<std::size_t>(given.detections);
    std::fill_n(out.ranks, all, -1);
    std::fill_n(out.ground_truths, all * count, -1);
    std::fill_n(out.ignored, all * count, std::uint8_t{1});
    std::int64_t rank = 0;
    for (std::size_t k = 0; k < counting; ++k) {
        const auto here = static_cast<std::size_t>(order[k]);
        const bool same =
            k > 0 && detections.labels[here] == detections.labels[static_cast<std::size_t>(order[k - 1])];
        rank = same ? rank + 1 : 0;
        const auto row = static_cast<std::size_t>(detections.rows[here]);
        out.ranks[row] = rank;
        for (std::size_t t = 0; t < count; ++t) {
            out.ground_truths[row * count + t] = found[t * n + k];
            out.ignored[row * count + t] = ignored[t * n + k];
        }
    }
}

Matches match(const MatchArguments& given, const OperatorDevice&) {
    Matches found(given);
    const std::int64_t rows = given.detections, values = rows * found.ground_truths.size(2);
    torch::stable::parallel_for(0, given.images, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t image = begin; image < end; ++image) {
            match_image(given, image,
                        {output<std::int64_t>(found.ranks) + image * rows,
                         output<std::int64_t>(found.ground_truths) + image * values,
                         output<std::uint8_t>(found.ignored) + image * values});
        }
    });
    return found;
}

#endif

std::tuple<Tensor, Tensor, Tensor> match_detections(
    const Tensor& boxes, const Tensor& scores, const Tensor& classes, const Tensor& counts,
    const Tensor& gt_boxes, const Tensor& gt_classes, const Tensor& gt_counts,
    const std::vector<double>& thresholds, const std::optional<Tensor>& gt_crowd,
    const std::optional<Tensor>& gt_ignore, const std::optional<Tensor>& dt_ignore, std::int64_t max_det) {
    const OperatorDevice device({&boxes, &scores, &classes, &counts, &gt_boxes, &gt_classes, &gt_counts,
                                 if_given(gt_crowd), if_given(gt_ignore), if_given(dt_ignore)});
    const MatchArguments given(
        {boxes, scores, classes, counts, gt_boxes, gt_classes, gt_counts, gt_crowd, gt_ignore, dt_ignore},
        thresholds, max_det, device.index());
    const Matches found = match(given, device);
    return {found.ranks, found.ground_truths, found.ignored};
}

YF_SCHEMAS(m) {
    // boxes [B, D, 4] and gt_boxes [B, G, 4] xyxy, float32 or float64; scores float32, classes int64 [B, D];
    // gt_classes int64 [B, G]; counts and gt_counts int64 [B]; flags bool; T thresholds
    // -> ranks int64 [B, D], ground_truths int64 [B, D, T], ignored bool [B, D, T]
    m.def(
        "match_detections(Tensor boxes, Tensor scores, Tensor classes, Tensor counts, Tensor gt_boxes, "
        "Tensor gt_classes, Tensor gt_counts, float[] thresholds, Tensor? gt_crowd=None, "
        "Tensor? gt_ignore=None, Tensor? dt_ignore=None, *, int max_det=100) -> (Tensor, Tensor, Tensor)");
}

YF_KERNELS(m) { m.impl("match_detections", TORCH_BOX(&match_detections)); }

}  // namespace
}  // namespace yf::torch_ops
