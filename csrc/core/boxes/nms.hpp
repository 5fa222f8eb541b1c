// Greedy non-maximum suppression, over all boxes or within each class.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yf {

// In float32 or float64: boxes [n, 4] xyxy, scores [n], classes [n] or null (all boxes compete). Writes the
// indices of the kept boxes to `keep` (room for n) in descending score, lower index first among equals, and
// returns their number. A box is suppressed when its IoU with a kept box of its class is above `threshold`
// (compared in double). Boxes whose score is NaN are left out; a box with a NaN coordinate suppresses
// nothing and is never suppressed.
std::size_t nms(const float* boxes, const float* scores, const std::int64_t* classes, std::size_t n,
                double threshold, std::int64_t* keep);
std::size_t nms(const double* boxes, const double* scores, const std::int64_t* classes, std::size_t n,
                double threshold, std::int64_t* keep);

}  // namespace yf
