// Image kernels: letterbox, affine tile, flip, colour matrix, HSV jitter. See reference/image.py for what
// each one means to the last digit; these stay within 1 of it. Sizes are positive and pointers valid: the
// binding has checked them. Functions that need scratch rows may throw std::bad_alloc.
#pragma once

#include "core/common.hpp"

namespace yf {

// Bilinear resize of `src` (3 channels) to inner_h x inner_w at (pad_y, pad_x) of the target, `fill` around
// it.
void letterbox_packed(ConstImage src, Image dst, int inner_h, int inner_w, int pad_y, int pad_x,
                      std::uint8_t fill);
void letterbox_planar(ConstImage src, Planes dst, int inner_h, int inner_w, int pad_y, int pad_x,
                      std::uint8_t fill);

struct Window {  // half-open, source pixel edges
    double x0, y0, x1, y1;
};

// Writes the target pixels whose centre `matrix` (2x3, row-major, |entries| <= 1e12) takes into `window`
// (|edges| <= 2^24); leaves the others.
void warp_affine(ConstImage src, const double* matrix, Window window, Planes dst);

void flip(ConstImage src, Image dst, int channels, bool horizontal, bool vertical);

// dst = clip(round(matrix[:, :3] @ rgb + matrix[:, 3])); `matrix` 3x4, row-major. `dst` may be `src`.
void color_matrix(ConstPlanes src, const float* matrix, Planes dst);

// Hue plus `h` turns (in [0, 1)), saturation times `s`, value times `v` (in [0, 256]). `dst` may be `src`.
void hsv_jitter(ConstImage src, float h, float s, float v, Image dst);

}  // namespace yf
