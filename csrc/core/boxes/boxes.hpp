// IoU and its relatives between two sets of axis-aligned boxes, every pair or row by row.
//
// Boxes are xyxy, contiguous [n, 4]. A side that runs backwards (x2 < x1) counts as zero length at
// x1, so an inverted box has area 0. A pair whose result is not a number gives 0.
#pragma once

#include <cstddef>

namespace yf {

enum class IouKind : int { kIou = 0, kGiou = 1, kDiou = 2, kCiou = 3 };

// out[i * m + j] = kind(a[i], b[j]); a is [n, 4], b is [m, 4], out is [n, m].
void box_iou(const float* a, std::size_t n, const float* b, std::size_t m, IouKind kind, float* out);
void box_iou(const double* a, std::size_t n, const double* b, std::size_t m, IouKind kind, double* out);

// out[i] = kind(a[i], b[i]); a and b are [n, 4], out is [n].
void box_iou_elementwise(const float* a, const float* b, std::size_t n, IouKind kind, float* out);
void box_iou_elementwise(const double* a, const double* b, std::size_t n, IouKind kind, double* out);

}  // namespace yf
