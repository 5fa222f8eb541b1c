// The IoU test that every NMS shares: one box against a block of boxes, without a division until one of
// them may be near.
//
// What counts is float32: IoU = inter / union, each operation rounded, compared with `limit`. The quick test
// `inter >= limit * union` lets every such pair through: if the rounded quotient is above `limit`, the exact
// one is, so limit * union < inter, and rounding keeps that order. Only blocks that pass are divided.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include "core/common.hpp"

namespace yf {

struct Box {
    float x1, y1, x2, y2, area;
};

// Boxes, one array per field. A box whose area is NaN overlaps no other.
struct BoxLanes {
    float *x1, *y1, *x2, *y2, *area;

    YF_INLINE void set(std::size_t i, const Box& box) const {
        x1[i] = box.x1;
        y1[i] = box.y1;
        x2[i] = box.x2;
        y2[i] = box.y2;
        area[i] = box.area;
    }
    YF_INLINE Box at(std::size_t i) const { return {x1[i], y1[i], x2[i], y2[i], area[i]}; }
    YF_INLINE BoxLanes from(std::size_t i) const { return {x1 + i, y1 + i, x2 + i, y2 + i, area + i}; }
};

// Boxes are compared so many at a time; arrays of lanes are readable that far past their end.
constexpr std::size_t kBlock = 16;
constexpr float kNobody = std::numeric_limits<float>::quiet_NaN();

// A backward side has no length, so such a box has no area.
YF_HOST_DEVICE inline Box make_box(float x1, float y1, float x2, float y2) {
    const float w = x2 - x1;
    const float h = y2 - y1;
    return {x1, y1, x2, y2, w > 0.0f && h > 0.0f ? w * h : 0.0f};
}

// Whether its IoU with any box may be above 0: no intersection is larger than the smaller box, and
// anything over an infinite union is 0 or NaN. False too when a coordinate is NaN.
YF_HOST_DEVICE inline bool can_overlap(const Box& box) {
    return box.area > 0.0f && box.area <= std::numeric_limits<float>::max();
}

// The largest float not above `value`: for any float f, f > value exactly when f > floor_to_float(value).
inline float floor_to_float(double value) {
    const float nearest = static_cast<float>(value);
    if (static_cast<double>(nearest) <= value) return nearest;
    return std::nextafter(nearest, -std::numeric_limits<float>::infinity());
}

// False only when no lane's IoU with the box is above `limit` (0 or more).
YF_INLINE bool may_overlap(const Box& box, const BoxLanes& lanes, float limit) {
    int hit = 0;
    for (std::size_t k = 0; k < kBlock; ++k) {
        const float right = box.x2 < lanes.x2[k] ? box.x2 : lanes.x2[k];
        const float left = box.x1 > lanes.x1[k] ? box.x1 : lanes.x1[k];
        const float bottom = box.y2 < lanes.y2[k] ? box.y2 : lanes.y2[k];
        const float top = box.y1 > lanes.y1[k] ? box.y1 : lanes.y1[k];
        const float w = right - left > 0.0f ? right - left : 0.0f;
        const float inter = w * (bottom - top);  // at most 0 where they lie apart
        const float uni = lanes.area[k] + box.area - inter;
        hit |= static_cast<int>(inter > 0.0f) & static_cast<int>(inter >= limit * uni);
    }
    return hit != 0;
}

// The float32 IoU of the box with each lane; 0 for those that overlap no other.
YF_INLINE void block_iou(const Box& box, const BoxLanes& lanes, float* iou) {
    for (std::size_t k = 0; k < kBlock; ++k) {
        const float right = box.x2 < lanes.x2[k] ? box.x2 : lanes.x2[k];
        const float left = box.x1 > lanes.x1[k] ? box.x1 : lanes.x1[k];
        const float bottom = box.y2 < lanes.y2[k] ? box.y2 : lanes.y2[k];
        const float top = box.y1 > lanes.y1[k] ? box.y1 : lanes.y1[k];
        const float w = right - left > 0.0f ? right - left : 0.0f;
        const float h = bottom - top > 0.0f ? bottom - top : 0.0f;
        const float inter = w * h;
        const float uni = lanes.area[k] + box.area - inter;
        const float value = inter / (uni > 0.0f ? uni : 1.0f);
        iou[k] = uni > 0.0f && inter > 0.0f ? value : 0.0f;
    }
}

}  // namespace yf
