#include "box_transforms.hpp"

#include <limits>

namespace yf {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Comparisons that leave NaN as it is.
inline double clamp(double value, double high) { return value < 0.0 ? 0.0 : (value > high ? high : value); }

template <typename T>
inline void store(double x1, double y1, double x2, double y2, T* out) {
    out[0] = static_cast<T>(x1);
    out[1] = static_cast<T>(y1);
    out[2] = static_cast<T>(x2);
    out[3] = static_cast<T>(y2);
}

struct Bounds {
    double x1 = kInfinity, y1 = kInfinity, x2 = -kInfinity, y2 = -kInfinity;

    // False when the point cannot be seen: at or behind the horizon, or no number.
    bool add(const double* m, double x, double y) {
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

}  // namespace

template <typename T>
void centre_to_corners(const T* boxes, std::size_t n, double width, double height, T* out) {
    for (std::size_t i = 0; i < 4 * n; i += 4) {
        const double x = boxes[i], y = boxes[i + 1];
        const double half_w = static_cast<double>(boxes[i + 2]) / 2;
        const double half_h = static_cast<double>(boxes[i + 3]) / 2;
        store((x - half_w) * width, (y - half_h) * height, (x + half_w) * width, (y + half_h) * height,
              out + i);
    }
}

template <typename T>
void corners_to_centre(const T* boxes, std::size_t n, double width, double height, T* out) {
    for (std::size_t i = 0; i < 4 * n; i += 4) {
        const double x1 = boxes[i], y1 = boxes[i + 1], x2 = boxes[i + 2], y2 = boxes[i + 3];
        store((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height, out + i);
    }
}

template <typename T>
void ltwh_to_corners(const T* boxes, std::size_t n, T* out) {
    for (std::size_t i = 0; i < 4 * n; i += 4) {
        const double x = boxes[i], y = boxes[i + 1];
        store(x, y, x + boxes[i + 2], y + boxes[i + 3], out + i);
    }
}

template <typename T>
void corners_to_ltwh(const T* boxes, std::size_t n, T* out) {
    for (std::size_t i = 0; i < 4 * n; i += 4) {
        const double x = boxes[i], y = boxes[i + 1];
        store(x, y, boxes[i + 2] - x, boxes[i + 3] - y, out + i);
    }
}

template <typename T>
void clip_boxes(const T* boxes, std::size_t n, double width, double height, T* out) {
    for (std::size_t i = 0; i < 4 * n; i += 4) {
        store(clamp(boxes[i], width), clamp(boxes[i + 1], height), clamp(boxes[i + 2], width),
              clamp(boxes[i + 3], height), out + i);
    }
}

template <typename T>
void transform_boxes(const T* boxes, std::size_t n, const double* matrix, const Size* clip, T* out) {
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    for (std::size_t i = 0; i < 4 * n; i += 4) {
        const double x1 = boxes[i], y1 = boxes[i + 1], x2 = boxes[i + 2], y2 = boxes[i + 3];
        Bounds b;
        if (!(b.add(matrix, x1, y1) && b.add(matrix, x2, y1) && b.add(matrix, x1, y2) &&
              b.add(matrix, x2, y2))) {
            store(kNan, kNan, kNan, kNan, out + i);
        } else if (clip != nullptr) {
            store(clamp(b.x1, clip->width), clamp(b.y1, clip->height), clamp(b.x2, clip->width),
                  clamp(b.y2, clip->height), out + i);
        } else {
            store(b.x1, b.y1, b.x2, b.y2, out + i);
        }
    }
}

template <typename T>
void visible_boxes(const T* before, const T* after, std::size_t n, const VisibilityRule& rule, bool* out) {
    for (std::size_t i = 0; i < n; ++i) {
        const T *p = before + 4 * i, *q = after + 4 * i;
        const double full_w = static_cast<double>(p[2]) - p[0];
        const double full_h = static_cast<double>(p[3]) - p[1];
        const double w = static_cast<double>(q[2]) - q[0];
        const double h = static_cast<double>(q[3]) - q[1];
        out[i] = w > rule.min_side && h > rule.min_side && w * h > rule.min_area * (full_w * full_h) &&
                 w < rule.max_aspect * h && h < rule.max_aspect * w;
    }
}

template void centre_to_corners(const float*, std::size_t, double, double, float*);
template void centre_to_corners(const double*, std::size_t, double, double, double*);
template void corners_to_centre(const float*, std::size_t, double, double, float*);
template void corners_to_centre(const double*, std::size_t, double, double, double*);
template void ltwh_to_corners(const float*, std::size_t, float*);
template void ltwh_to_corners(const double*, std::size_t, double*);
template void corners_to_ltwh(const float*, std::size_t, float*);
template void corners_to_ltwh(const double*, std::size_t, double*);
template void clip_boxes(const float*, std::size_t, double, double, float*);
template void clip_boxes(const double*, std::size_t, double, double, double*);
template void transform_boxes(const float*, std::size_t, const double*, const Size*, float*);
template void transform_boxes(const double*, std::size_t, const double*, const Size*, double*);
template void visible_boxes(const float*, const float*, std::size_t, const VisibilityRule&, bool*);
template void visible_boxes(const double*, const double*, std::size_t, const VisibilityRule&, bool*);

}  // namespace yf
