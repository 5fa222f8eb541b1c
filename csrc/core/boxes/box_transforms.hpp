// Box formats, clipping, boxes through a matrix, and which boxes are still worth learning from.
//
// Boxes are contiguous [n, 4] of float or double; arithmetic is double and rounded once. `out` may be
// the boxes themselves. Numbers that are not finite go through the arithmetic and harm nothing.
#pragma once

#include <cstddef>

namespace yf {

// Centre and size in units of width and height (1 and 1: pixels) to xyxy pixels, and back.
template <typename T>
void centre_to_corners(const T* boxes, std::size_t n, double width, double height, T* out);
template <typename T>
void corners_to_centre(const T* boxes, std::size_t n, double width, double height, T* out);

// Left, top, width, height (COCO) to xyxy, and back.
template <typename T>
void ltwh_to_corners(const T* boxes, std::size_t n, T* out);
template <typename T>
void corners_to_ltwh(const T* boxes, std::size_t n, T* out);

// xyxy into [0, width] x [0, height]; NaN stays NaN.
template <typename T>
void clip_boxes(const T* boxes, std::size_t n, double width, double height, T* out);

struct Size {
    double width, height;
};

// The upright boxes around the four corners of xyxy boxes, sent through `matrix` ([3, 3], row by row) and
// clipped to `clip` unless it is null. A row is NaN when a corner lies at or behind the horizon or is no
// number.
template <typename T>
void transform_boxes(const T* boxes, std::size_t n, const double* matrix, const Size* clip, T* out);

struct VisibilityRule {
    double min_side, min_area, max_aspect;
};

// out[i] = both sides of after[i] > min_side, its area > min_area of that of before[i], and its longer side
// < max_aspect times the shorter. NaN is not visible.
template <typename T>
void visible_boxes(const T* before, const T* after, std::size_t n, const VisibilityRule& rule, bool* out);

}  // namespace yf
