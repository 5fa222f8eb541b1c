// One box through a matrix: the arithmetic that `box_transforms.cpp` and csrc/cuda share.
//
// Each operation is rounded to double by itself, so whoever compiles this must not contract products and
// sums.
#pragma once

#include <limits>

#include "core/boxes/box_transforms.hpp"
#include "core/common.hpp"

namespace yf {

// Comparisons that leave NaN as it is.
YF_HOST_DEVICE YF_INLINE double clamp(double value, double low, double high) {
    return value < low ? low : (value > high ? high : value);
}
YF_HOST_DEVICE YF_INLINE double clamp(double value, double high) { return clamp(value, 0.0, high); }

template <typename T>
YF_HOST_DEVICE YF_INLINE void store_box(double x1, double y1, double x2, double y2, T* out) {
    out[0] = static_cast<T>(x1);
    out[1] = static_cast<T>(y1);
    out[2] = static_cast<T>(x2);
    out[3] = static_cast<T>(y2);
}

struct Bounds {
    double x1 = std::numeric_limits<double>::infinity(), y1 = x1, x2 = -x1, y2 = -x1;

    // False when the point cannot be seen: at or behind the horizon, or no number.
    YF_HOST_DEVICE bool add(const double* m, double x, double y) {
        const double w = m[6] * x + m[7] * y + m[8];
        if (!(w > 0.0)) return false;
        const double u = (m[0] * x + m[1] * y + m[2]) / w;
        const double v = (m[3] * x + m[4] * y + m[5]) / w;
        x1 = u < x1 ? u : x1;
        x2 = u > x2 ? u : x2;
        y1 = v < y1 ? v : y1;
        y2 = v > y2 ? v : y2;
        return u == u && v == v;
    }
};

// What transform_boxes does with a box; `out` may be the box itself.
template <typename T>
YF_HOST_DEVICE YF_INLINE void transform_box(const T* box, const double* matrix, const Size* clip, T* out) {
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    const double x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3];
    Bounds b;
    if (!(b.add(matrix, x1, y1) && b.add(matrix, x2, y1) && b.add(matrix, x1, y2) && b.add(matrix, x2, y2))) {
        store_box(kNan, kNan, kNan, kNan, out);
    } else if (clip != nullptr) {
        store_box(clamp(b.x1, clip->width), clamp(b.y1, clip->height), clamp(b.x2, clip->width),
                  clamp(b.y2, clip->height), out);
    } else {
        store_box(b.x1, b.y1, b.x2, b.y2, out);
    }
}

// Whether a box with sides `w` and `h`, of which `full_w` and `full_h` before clipping, is visible by `rule`
// when `hidden` of its area is not seen.
inline bool is_visible(double full_w, double full_h, double w, double h, const VisibilityRule& rule,
                       double hidden = 0.0) {
    return w > rule.min_side && h > rule.min_side && w * h - hidden > rule.min_area * (full_w * full_h) &&
           w < rule.max_aspect * h && h < rule.max_aspect * w;
}

}  // namespace yf
