// What match_detections asks of its arguments, for all devices.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <vector>

#include "core/coco/match.hpp"
#include "torch/checks.hpp"

namespace yf::torch_ops {

// The tensors that match_detections got.
struct MatchGiven {
    const Tensor &boxes, &scores, &classes, &counts, &gt_boxes, &gt_classes, &gt_counts;
    const std::optional<Tensor>&gt_crowd, &gt_ignore, &dt_ignore;
};

// The same, contiguous, of dtypes and shapes that fit.
struct MatchArguments {
    // check(name, tensor, dtypes, shape) is cpu_tensor or device_tensor.
    template <typename Check>
    MatchArguments(const MatchGiven& given, const std::vector<double>& thresholds, std::int64_t max_det,
                   const Check& check)
        : boxes(check("boxes", given.boxes, {ScalarType::Float, ScalarType::Double}, {kAny, kAny, 4})),
          images(boxes.size(0)),
          detections(boxes.size(1)),
          scores(check("scores", given.scores, {ScalarType::Float}, {images, detections})),
          classes(check("classes", given.classes, {ScalarType::Long}, {images, detections})),
          counts(check("counts", given.counts, {ScalarType::Long}, {images})),
          gt_boxes(
              check("gt_boxes", given.gt_boxes, {ScalarType::Float, ScalarType::Double}, {images, kAny, 4})),
          truths(gt_boxes.size(1)),
          gt_classes(check("gt_classes", given.gt_classes, {ScalarType::Long}, {images, truths})),
          gt_counts(check("gt_counts", given.gt_counts, {ScalarType::Long}, {images})) {
        const auto flags = [&](const char* name, const std::optional<Tensor>& tensor, std::int64_t rows) {
            std::optional<Tensor> checked;
            if (tensor) checked = check(name, *tensor, {ScalarType::Bool}, {images, rows});
            return checked;
        };
        gt_crowd = flags("gt_crowd", given.gt_crowd, truths);
        gt_ignore = flags("gt_ignore", given.gt_ignore, truths);
        dt_ignore = flags("dt_ignore", given.dt_ignore, detections);
        if (thresholds.empty() || thresholds.size() > coco::kMaxThresholds) {
            fail("match_detections: thresholds has ", thresholds.size(), " values; expected 1 to ",
                 coco::kMaxThresholds);
        }
        for (const double threshold : thresholds)
            check_fraction("match_detections", "a threshold", threshold);
        if (max_det < 0) fail("match_detections: max_det is ", max_det, "; expected at least 0");
    }

    Tensor boxes;  // [B, D, 4]
    std::int64_t images, detections;
    Tensor scores, classes, counts, gt_boxes;  // gt_boxes [B, G, 4]
    std::int64_t truths;
    Tensor gt_classes, gt_counts;
    std::optional<Tensor> gt_crowd, gt_ignore, dt_ignore;
};

}  // namespace yf::torch_ops
