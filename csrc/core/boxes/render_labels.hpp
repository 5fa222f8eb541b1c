// Labels of a plan's samples: each tile's boxes through its matrix, clipped, and only those worth learning
// from.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/boxes/box_transforms.hpp"

namespace yf {

// A tile and the labels of its image. Pointers are borrowed.
struct LabelTile {
    std::int64_t sample;
    const float* rows;  // [count, 5] class, xywhn of the image
    std::size_t count;
    Size image;             // upright, in pixels
    const double* forward;  // [9] source point -> output point
    const double* window;   // [4] x0, y0, x1, y1: what the tile may show, in source pixels
    const double* frame;    // [4] the part of the output in which it shows
    const double* hole;     // [4] a part of the frame in which it does not, or null
};

// Writes (sample, class, xywhn of an output of `size`) for each label that is kept, tile after tile, and
// returns how many; `out` has room for all labels of all tiles. Arithmetic is double, rounded once. A label
// with a NaN, or with a corner at or behind the horizon of its matrix, is dropped; so is, unless `rule` is
// null, a box that is not visible by it. A box is clipped to its tile's frame, and becomes the smallest
// around what the hole leaves of it; one of which nothing is left is dropped.
std::size_t render_labels(const LabelTile* tiles, std::size_t count, const Size& size,
                          const VisibilityRule* rule, float* out);

}  // namespace yf
