// Where the pixels of a tile lie in its planes: the arithmetic that the CPU's renderer and csrc/cuda share.
// Each operation is rounded by itself, so whoever compiles this must not contract products and sums.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/render/render.hpp"
#include "core/render/spans.hpp"

namespace yf {

constexpr int kWeightMax = 32767;  // bilinear weights are in 1/32768

// ---------------------------------------------------------------------------------- upright tiles

// The first of the two samples around a position along an axis, and the weight of the second.
struct Neighbour {
    std::int32_t first;
    std::int16_t weight;
};

// `at` is in index units (pixel centres) of an axis of `size` >= 2 samples.
YF_HOST_DEVICE inline Neighbour neighbour_at(double at, int size) {
    at = std::min(std::max(at, 0.0), size - 1.0);
    const int first = std::min(static_cast<int>(at), size - 2);
    return {first, static_cast<std::int16_t>(std::min((at - first) * 32768.0 + 0.5, 32767.0))};
}

// Output pixel (x, y) lies at gain * (pixel + 0.5) + offset of `y`'s plane, in pixel edges.
struct UprightAxes {
    double gain_x, offset_x, gain_y, offset_y;
};

YF_HOST_DEVICE inline UprightAxes upright_axes(const Tile& tile) {
    const double *m = tile.matrix, *p = tile.picture.place;
    return {p[0] * m[0], p[0] * m[2] + p[2], p[4] * m[4], p[4] * m[5] + p[5]};
}

// Column x in a plane at least two samples wide; gain and offset are those of that plane.
YF_HOST_DEVICE inline Neighbour upright_column(double gain, double offset, int x, int width) {
    return neighbour_at(gain * (x + 0.5) + offset - 0.5, width);
}

// Row y in a plane that is lower by `factor` and at least two samples high. With a weight of 0 the second row
// does not count; there is no weight of kWeightMax, which stands for the second row alone.
YF_HOST_DEVICE inline Neighbour upright_row(double at, int factor, int height) {
    const Neighbour row = neighbour_at(at / factor - 0.5, height);
    return row.weight == kWeightMax ? Neighbour{row.first + 1, 0} : row;
}

// ---------------------------------------------------------------------------------- tiles of any kind

constexpr int kChunk = 128;  // pixels a step: counted from the first that the tile owns in its row

// A line of output pixels on its way through one axis of a plane: pixel begin + i lies at
// (start + i * step) / (1 + i * depth_step), in index units (pixel centres) from `base` on. Relative to a
// base nearby, single precision is exact to about 1e-5 of a pixel.
struct Line {
    std::int32_t base;
    float start, step;
};

// `start` and `step` are in pixels of the plane, whose axis has `size`. `start` may be infinite, but not NaN.
YF_HOST_DEVICE inline Line line_through(double start, double step, double depth_step, int size, int count) {
    const double last = (start + (count - 1) * step) / (1 + (count - 1) * depth_step);
    const auto base = static_cast<std::int32_t>(std::clamp(std::min(start, last) - 0.5, 0.0, size - 1.0));
    const double shift = base + 0.5;
    return {base, static_cast<float>(start - shift), static_cast<float>(step - shift * depth_step)};
}

// Output point -> point of `y`, homogeneous.
struct Projection {
    double to[9];
};

YF_HOST_DEVICE inline Projection project(const Tile& tile) {
    const double *m = tile.matrix, *p = tile.picture.place;
    Projection result;
    for (int c = 0; c < 3; ++c) {
        result.to[c] = p[0] * m[c] + p[1] * m[3 + c] + p[2] * m[6 + c];
        result.to[3 + c] = p[3] * m[c] + p[4] * m[3 + c] + p[5] * m[6 + c];
        result.to[6 + c] = m[6 + c];
    }
    return result;
}

// A chunk on its way through the plane of `y`: all over the first pixel's depth, which is positive, because a
// projection may come at any scale.
struct ChunkPath {
    double x, step_x, y, step_y, depth_step;
};

YF_HOST_DEVICE inline ChunkPath path_of(const Projection& projection, int begin, int row) {
    const double* to = projection.to;
    const double u = begin + 0.5, v = row + 0.5;
    const double depth = to[6] * u + (to[7] * v + to[8]);
    return {(to[0] * u + (to[1] * v + to[2])) / depth, to[0] / depth,
            (to[3] * u + (to[4] * v + to[5])) / depth, to[3] / depth, to[6] / depth};
}

// The same through both axes of a plane whose points are those of `y` times the scales, from `first_row` on.
struct ChunkLines {
    Line columns, rows;
};

YF_HOST_DEVICE inline ChunkLines lines_of(const ChunkPath& path, double scale_x, double scale_y,
                                          int first_row, int width, int height, int count) {
    return {line_through(path.x * scale_x, path.step_x * scale_x, path.depth_step, width, count),
            line_through(path.y * scale_y - first_row, path.step_y * scale_y - first_row * path.depth_step,
                         path.depth_step, height, count)};
}

// 1 over the depth of pixel i of a chunk. Past the span's end the depth may reach 0; those pixels are not
// written.
YF_HOST_DEVICE YF_INLINE float inverse_depth_at(int i, float step) {
    const float at = 1.0f + static_cast<float>(i) * step;
    return 1.0f / (at > 1e-30f ? at : 1e-30f);
}

// Splits a position, clamped to [0, last], into a neighbour and the weight of the next one.
YF_HOST_DEVICE YF_INLINE std::int32_t split(float at, float last, std::int32_t before_last,
                                            std::int16_t* weight) {
    at = at > 0.0f ? at : 0.0f;
    at = at < last ? at : last;
    std::int32_t first = static_cast<std::int32_t>(at);
    first = first < before_last ? first : before_last;
    const std::int32_t part = static_cast<std::int32_t>((at - static_cast<float>(first)) * 32768.0f + 0.5f);
    *weight = static_cast<std::int16_t>(part < kWeightMax ? part : kWeightMax);
    return first;
}

// The rows of a plane that a tile can touch, two at least: those of its window, turned and scaled, and some
// around.
inline Span rows_of(const Tile& tile, int factor, int height) {
    const double *p = tile.picture.place, *w = tile.window;
    double low = height, high = 0;
    for (int corner = 0; corner < 4; ++corner) {
        const double y = (p[3] * w[corner & 1 ? 2 : 0] + p[4] * w[corner & 2 ? 3 : 1] + p[5]) / factor;
        low = std::min(low, y);
        high = std::max(high, y);
    }
    const double last = std::max(height, 2);
    return {static_cast<int>(std::clamp(low - 2, 0.0, last)),
            static_cast<int>(std::clamp(high + 3, 0.0, last))};
}

}  // namespace yf
