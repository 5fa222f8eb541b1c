// What a score threshold gives: counts over a grid of thresholds, and the threshold with the best mean F1.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/coco/ranking.hpp"

namespace yf::coco {

// Right and counted detections of each label with a score >= each of `confidences` (descending, [count]), at
// the first threshold and area range: right and total are [labels, count].
void count_above(const Ranking& ranking, const double* confidences, std::size_t count, std::int64_t* right,
                 std::int64_t* total);

// The score at which the mean F1 over labels with positives is largest, the highest such score, or 0 when no
// such label has detections; first threshold and area range. `positives` [labels]; the others as count_above
// has them: they bound the F1 between grid points, so that few detections have to be looked at.
double best_confidence(const Ranking& ranking, const std::int64_t* positives, const double* confidences,
                       std::size_t count, const std::int64_t* right, const std::int64_t* total);

}  // namespace yf::coco
