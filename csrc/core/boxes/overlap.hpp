// The IoU test that every NMS shares: one box against a block of boxes, without a division until one of
// them may be near.
//
// What counts is `Real`, float32 or float64: IoU = inter / union, each operation rounded, compared with
// `limit`. The quick test `inter >= limit * union` lets every such pair through: if the rounded quotient is
// above `limit`, the exact one is, so limit * union < inter, and rounding keeps that order. Only blocks that
// pass are divided.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>

#include "core/common.hpp"

namespace yf {

template <typename Real>
struct BasicBox {
    Real x1, y1, x2, y2, area;
};

using Box = BasicBox<float>;

// Boxes, one array per field. A box whose area is NaN overlaps no other.
template <typename Real>
struct BasicBoxLanes {
    Real *x1, *y1, *x2, *y2, *area;

    YF_INLINE void set(std::size_t i, const BasicBox<Real>& box) const {
        x1[i] = box.x1;
        y1[i] = box.y1;
        x2[i] = box.x2;
        y2[i] = box.y2;
        area[i] = box.area;
    }
    YF_INLINE BasicBox<Real> at(std::size_t i) const { return {x1[i], y1[i], x2[i], y2[i], area[i]}; }
    YF_INLINE BasicBoxLanes from(std::size_t i) const { return {x1 + i, y1 + i, x2 + i, y2 + i, area + i}; }
};

using BoxLanes = BasicBoxLanes<float>;

// Boxes are compared so many at a time; arrays of lanes are readable that far past their end.
constexpr std::size_t kBlock = 16;
constexpr float kNobody = std::numeric_limits<float>::quiet_NaN();

// A backward side has no length, so such a box has no area.
template <typename Real>
YF_HOST_DEVICE inline BasicBox<Real> make_box(Real x1, Real y1, Real x2, Real y2) {
    const Real w = x2 - x1;
    const Real h = y2 - y1;
    return {x1, y1, x2, y2, w > Real{0} && h > Real{0} ? w * h : Real{0}};
}

// Whether its IoU with any box may be above 0: no intersection is larger than the smaller box, and
// anything over an infinite union is 0 or NaN. False too when a coordinate is NaN.
template <typename Real>
YF_HOST_DEVICE inline bool can_overlap(const BasicBox<Real>& box) {
    return box.area > Real{0} && box.area <= std::numeric_limits<Real>::max();
}

// The largest float not above `value`: for any float f, f > value exactly when f > floor_to_float(value).
inline float floor_to_float(double value) {
    const float nearest = static_cast<float>(value);
    if (static_cast<double>(nearest) <= value) return nearest;
    return std::nextafter(nearest, -std::numeric_limits<float>::infinity());
}

// A threshold as an IoU of type Real is compared with it.
template <typename Real>
Real limit_of(double threshold) {
    if constexpr (std::is_same_v<Real, float>) return floor_to_float(threshold);
    return threshold;
}

// False only when no lane's IoU with the box is above `limit` (0 or more).
template <typename Real>
YF_INLINE bool may_overlap(const BasicBox<Real>& box, const BasicBoxLanes<Real>& lanes, Real limit) {
    int hit = 0;
    for (std::size_t k = 0; k < kBlock; ++k) {
        const Real right = box.x2 < lanes.x2[k] ? box.x2 : lanes.x2[k];
        const Real left = box.x1 > lanes.x1[k] ? box.x1 : lanes.x1[k];
        const Real bottom = box.y2 < lanes.y2[k] ? box.y2 : lanes.y2[k];
        const Real top = box.y1 > lanes.y1[k] ? box.y1 : lanes.y1[k];
        const Real w = right - left > Real{0} ? right - left : Real{0};
        const Real inter = w * (bottom - top);  // at most 0 where they lie apart
        const Real uni = lanes.area[k] + box.area - inter;
        hit |= static_cast<int>(inter > Real{0}) & static_cast<int>(inter >= limit * uni);
    }
    return hit != 0;
}

// The IoU of the box with each lane; 0 for those that overlap no other.
template <typename Real>
YF_INLINE void block_iou(const BasicBox<Real>& box, const BasicBoxLanes<Real>& lanes, Real* iou) {
    for (std::size_t k = 0; k < kBlock; ++k) {
        const Real right = box.x2 < lanes.x2[k] ? box.x2 : lanes.x2[k];
        const Real left = box.x1 > lanes.x1[k] ? box.x1 : lanes.x1[k];
        const Real bottom = box.y2 < lanes.y2[k] ? box.y2 : lanes.y2[k];
        const Real top = box.y1 > lanes.y1[k] ? box.y1 : lanes.y1[k];
        const Real w = right - left > Real{0} ? right - left : Real{0};
        const Real h = bottom - top > Real{0} ? bottom - top : Real{0};
        const Real inter = w * h;
        const Real uni = lanes.area[k] + box.area - inter;
        const Real value = inter / (uni > Real{0} ? uni : Real{1});
        iou[k] = uni > Real{0} && inter > Real{0} ? value : Real{0};
    }
}

}  // namespace yf
