#include "core/boxes/box_transforms.hpp"

#include "core/boxes/transform_box.hpp"

namespace yf {

template <typename T>
void centre_to_corners(const T* boxes, std::size_t n, double width, double height, T* out) {
    for (std::size_t i = 0; i < 4 * n; i += 4) {
        const double x = boxes[i], y = boxes[i + 1];
        const double half_w = static_cast<double>(boxes[i + 2]) / 2;
        const double half_h = static_cast<double>(boxes[i + 3]) / 2;
        store_box((x - half_w) * width, (y - half_h) * height, (x + half_w) * width, (y + half_h) * height,
                  out + i);
    }
}

template <typename T>
void corners_to_centre(const T* boxes, std::size_t n, double width, double height, T* out) {
    for (std::size_t i = 0; i < 4 * n; i += 4) {
        const double x1 = boxes[i], y1 = boxes[i + 1], x2 = boxes[i + 2], y2 = boxes[i + 3];
        store_box((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height,
                  out + i);
    }
}

template <typename T>
void ltwh_to_corners(const T* boxes, std::size_t n, T* out) {
    for (std::size_t i = 0; i < 4 * n; i += 4) {
        const double x = boxes[i], y = boxes[i + 1];
        store_box(x, y, x + boxes[i + 2], y + boxes[i + 3], out + i);
    }
}

template <typename T>
void corners_to_ltwh(const T* boxes, std::size_t n, T* out) {
    for (std::size_t i = 0; i < 4 * n; i += 4) {
        const double x = boxes[i], y = boxes[i + 1];
        store_box(x, y, boxes[i + 2] - x, boxes[i + 3] - y, out + i);
    }
}

template <typename T>
void clip_boxes(const T* boxes, std::size_t n, double width, double height, T* out) {
    for (std::size_t i = 0; i < 4 * n; i += 4) {
        store_box(clamp(boxes[i], width), clamp(boxes[i + 1], height), clamp(boxes[i + 2], width),
                  clamp(boxes[i + 3], height), out + i);
    }
}

template <typename T>
void transform_boxes(const T* boxes, std::size_t n, const double* matrix, const Size* clip, T* out) {
    for (std::size_t i = 0; i < 4 * n; i += 4) transform_box(boxes + i, matrix, clip, out + i);
}

template <typename T>
void visible_boxes(const T* before, const T* after, std::size_t n, const VisibilityRule& rule, bool* out) {
    for (std::size_t i = 0; i < n; ++i) {
        const T *p = before + 4 * i, *q = after + 4 * i;
        const double full_w = static_cast<double>(p[2]) - p[0];
        const double full_h = static_cast<double>(p[3]) - p[1];
        const double w = static_cast<double>(q[2]) - q[0];
        const double h = static_cast<double>(q[3]) - q[1];
        out[i] = is_visible(full_w, full_h, w, h, rule);
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
