// Soft-NMS (Bodla et al., ICCV 2017, arXiv:1704.04503): overlapping boxes lose score instead of being
// dropped.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yf {

enum class SoftNmsMethod : int {
    linear,    // score *= 1 - IoU where IoU is above `iou_threshold`
    gaussian,  // score *= exp(-IoU^2 / sigma) wherever boxes overlap
};

struct SoftNmsOptions {
    SoftNmsMethod method = SoftNmsMethod::linear;
    double sigma = 0.5;              // above 0
    double iou_threshold = 0.3;      // from 0 to 1
    double score_threshold = 0.001;  // at least 0; a box whose score is or falls below it is left out
};

// In float32 or float64: boxes [n, 4] xyxy, scores [n], classes [n] or null (all boxes meet). Writes the
// indices of the boxes that stay to `keep` and their final scores to `new_scores` (room for n each) in
// descending new score, lower index first among equals, and returns their number. A score that is or becomes
// NaN is left out.
std::size_t soft_nms(const float* boxes, const float* scores, const std::int64_t* classes, std::size_t n,
                     const SoftNmsOptions& options, std::int64_t* keep, float* new_scores);
std::size_t soft_nms(const double* boxes, const double* scores, const std::int64_t* classes, std::size_t n,
                     const SoftNmsOptions& options, std::int64_t* keep, double* new_scores);

}  // namespace yf
