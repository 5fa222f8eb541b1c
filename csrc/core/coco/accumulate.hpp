// From ranked detections to precision and recall: pycocotools' accumulate.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/coco/ranking.hpp"

namespace yf::coco {

// What to compute: pycocotools' parameters. `positives` is [labels, areas].
struct Axes {
    int thresholds, areas, max_dets;
    std::size_t recalls;
    const double* recall_points;         // ascending
    const std::int64_t* max_det_limits;  // [max_dets]
    const std::int64_t* positives;
};

// Labels first .. last - 1. Layouts: precision and scores [areas, max_dets, labels, thresholds, recalls],
// recall and area_under_curve [areas, max_dets, labels, thresholds]. -1 where a label has no ground truth.
// `area_under_curve` is the exact area under the envelope of the precision-recall curve.
void accumulate(const Ranking& ranking, const Axes& axes, std::int32_t first, std::int32_t last,
                double* precision, double* scores, double* recall, double* area_under_curve);

}  // namespace yf::coco
