// From judged detections to precision and recall: pycocotools' accumulate, and what else the same sorted
// detections tell (operating point, curves over confidence).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "match.hpp"

namespace yf::coco {

// Judged detections by label, each label's in descending score, earlier first among equals.
class Ranking {
  public:
    // `parts` in the order of images; labels are 0 .. labels - 1, which is checked.
    Ranking(const std::vector<std::span<const Judged>>& parts, std::int32_t labels);

    const Judged* begin(std::int32_t label) const { return judged_.data() + starts_[at(label)]; }
    const Judged* end(std::int32_t label) const { return judged_.data() + starts_[at(label) + 1]; }
    std::int32_t labels() const { return static_cast<std::int32_t>(starts_.size() - 1); }
    std::size_t size() const { return judged_.size(); }
    // The label of each detection in descending score over all labels.
    const std::vector<std::int32_t>& labels_by_score() const { return by_score_; }

  private:
    static std::size_t at(std::int32_t label) { return static_cast<std::size_t>(label); }

    std::vector<Judged> judged_;
    std::vector<std::size_t> starts_;
    std::vector<std::int32_t> by_score_;
};

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

// [outer, inner] to [inner, outer].
void transpose(const double* in, std::size_t outer, std::size_t inner, double* out);

// True and counted detections of each label with score >= each of `confidences` (descending), at the first
// threshold and area range: right and total, [labels, confidences].
void count_above(const Ranking& ranking, const double* confidences, std::size_t count, std::int64_t* right,
                 std::int64_t* total);

// The score at which the mean F1 over labels with positives [labels] is largest (the highest such score),
// or 0 when there are no detections; first threshold and area range.
double best_confidence(const Ranking& ranking, const std::int64_t* positives, std::size_t stride);

}  // namespace yf::coco
