// The overlap of COCO's matching: pycocotools' bbIou, arithmetic that `match.cpp` and csrc/cuda share.
//
// Each operation is rounded to double by itself, so whoever compiles this must not contract products and
// sums.
#pragma once

#include <algorithm>
#include <cmath>

#include "core/common.hpp"

namespace yf::coco {

struct Box {
    double left, top, width, height;
};

// fmin and fmax let a NaN slip through as if the other operand were meant; a box of zeros overlaps nothing.
YF_HOST_DEVICE inline Box checked_box(Box box) {
    if (std::isnan(box.left) || std::isnan(box.top) || std::isnan(box.width) || std::isnan(box.height))
        return {0, 0, 0, 0};
    return box;
}

// The far edge is left + width, and a crowd divides by the detection alone.
YF_HOST_DEVICE inline double overlap(const Box& dt, const Box& gt, bool crowd) {
    const double w = std::min(dt.width + dt.left, gt.width + gt.left) - std::max(dt.left, gt.left);
    if (!(w > 0)) return 0;
    const double h = std::min(dt.height + dt.top, gt.height + gt.top) - std::max(dt.top, gt.top);
    if (!(h > 0)) return 0;
    const double inter = w * h;
    const double area = dt.width * dt.height;
    return inter / (crowd ? area : area + gt.width * gt.height - inter);
}

// The least overlap that makes a match.
YF_HOST_DEVICE inline double least_overlap(double threshold) { return std::min(threshold, 1 - 1e-10); }

}  // namespace yf::coco
