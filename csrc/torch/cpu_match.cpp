// torch.ops.yolofast.match_detections on CPU tensors: padded images, one by one, to csrc/core/coco.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "core/coco/match.hpp"
#include "torch/match_arguments.hpp"

namespace yf::torch_ops {
namespace {

template <typename T>
const T* input(const Tensor& tensor) {
    return static_cast<const T*>(tensor.const_data_ptr());
}

// The rows of an image that are somebody, as the core wants them.
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
            const auto place = std::lower_bound(all.begin(), all.end(), label) - all.begin();
            rows->labels.push_back(static_cast<std::int32_t>(place));
        }
    }
}

// Of one image: ranks [D], ground_truths and ignored [D, T].
struct Output {
    std::int64_t *ranks, *ground_truths;
    std::uint8_t* ignored;
};

void match_image(const MatchArguments& given, const std::vector<double>& thresholds, std::int64_t max_det,
                 std::int64_t image, const Output& out) {
    Rows detections = detections_of(given, image), truths = truths_of(given, image);
    number_classes(detections, truths);
    const std::size_t n = detections.size(), count = thresholds.size();
    std::vector<std::int64_t> order(n), found(n * count);
    std::vector<std::uint8_t> ignored(n * count);
    const std::size_t counting = coco::match_image(
        {detections.boxes.data(), detections.scores.data(), detections.labels.data()},
        detections.ignored.data(), n,
        {truths.boxes.data(), truths.labels.data(), nullptr, truths.crowd.data(), nullptr},
        truths.ignored.data(), truths.size(), thresholds.data(), count,
        static_cast<std::size_t>(std::min<std::int64_t>(max_det, static_cast<std::int64_t>(n))), order.data(),
        found.data(), ignored.data());
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

std::tuple<Tensor, Tensor, Tensor> match_detections(
    const Tensor& boxes, const Tensor& scores, const Tensor& classes, const Tensor& counts,
    const Tensor& gt_boxes, const Tensor& gt_classes, const Tensor& gt_counts,
    const std::vector<double>& thresholds, const std::optional<Tensor>& gt_crowd,
    const std::optional<Tensor>& gt_ignore, const std::optional<Tensor>& dt_ignore, std::int64_t max_det) {
    const auto check = [](const char* name, const Tensor& tensor, std::initializer_list<ScalarType> dtypes,
                          std::initializer_list<std::int64_t> shape) {
        return cpu_tensor("match_detections", name, tensor, dtypes, shape);
    };
    const MatchArguments given(
        {boxes, scores, classes, counts, gt_boxes, gt_classes, gt_counts, gt_crowd, gt_ignore, dt_ignore},
        thresholds, max_det, check);
    const std::int64_t images = given.images, rows = given.detections,
                       levels = static_cast<std::int64_t>(thresholds.size());
    const Tensor ranks = torch::stable::empty({images, rows}, ScalarType::Long),
                 found = torch::stable::empty({images, rows, levels}, ScalarType::Long),
                 ignored = torch::stable::empty({images, rows, levels}, ScalarType::Bool);
    torch::stable::parallel_for(0, images, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t image = begin; image < end; ++image) {
            match_image(given, thresholds, max_det, image,
                        {static_cast<std::int64_t*>(ranks.mutable_data_ptr()) + image * rows,
                         static_cast<std::int64_t*>(found.mutable_data_ptr()) + image * rows * levels,
                         static_cast<std::uint8_t*>(ignored.mutable_data_ptr()) + image * rows * levels});
        }
    });
    return {ranks, found, ignored};
}

}  // namespace
}  // namespace yf::torch_ops

STABLE_TORCH_LIBRARY_IMPL(yolofast, CPU, m) {
    m.impl("match_detections", TORCH_BOX(&yf::torch_ops::match_detections));
}
