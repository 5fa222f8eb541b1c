// Which pixels of the output a tile owns: exact, by the expressions of reference/render.py in their order.
#pragma once

#include <algorithm>

#include "core/render/render.hpp"

namespace yf {

// The first index in [0, count) at which `holds` differs from its value at 0, for a test that changes at most
// once; `guess` is where that should be.
template <typename Test>
YF_HOST_DEVICE int first_change(int count, double guess, Test holds) {
    const bool start = holds(0);
    if (holds(count - 1) == start) return count;
    int i = guess >= count ? count : guess > 0 ? static_cast<int>(guess) : 0;
    while (i > 0 && holds(i - 1) != start) --i;
    while (i < count && holds(i) == start) ++i;
    return i;
}

// Keeps of `span` the indices i at which `a * (i + 0.5) + b` passes `test` (a comparison with 0). Rounding
// leaves that expression monotone in i, so the answer is that of the same expression at every pixel.
template <typename Test>
YF_HOST_DEVICE void keep(Span& span, int count, double a, double b, Test test) {
    const auto holds = [=](int i) { return test(a * (i + 0.5) + b); };
    if (a == 0) {
        if (!holds(0)) span.end = span.begin;
        return;
    }
    const int change = first_change(count, -b / a - 0.5, holds);
    if (holds(0))
        span.end = std::min(span.end, change);
    else
        span.begin = std::max(span.begin, change);
}

// Row y of the output: see reference/render.py, whose order of operations this keeps.
YF_HOST_DEVICE inline Span owned(const Tile& tile, int y, int width) {
    const double *m = tile.matrix, *window = tile.window;
    const double v = y + 0.5;
    const double depth = m[7] * v + m[8];
    Span span{0, width};
    for (int axis = 0; axis < 2; ++axis) {
        const double slope = m[3 * axis], offset = m[3 * axis + 1] * v + m[3 * axis + 2];
        const double low = window[axis], high = window[axis + 2];
        keep(span, width, slope - low * m[6], offset - low * depth, [](double t) { return t >= 0; });
        keep(span, width, slope - high * m[6], offset - high * depth, [](double t) { return t < 0; });
        if (span.begin >= span.end) return {0, 0};
    }
    keep(span, width, m[6], depth, [](double t) { return t > 0; });
    return span.begin < span.end ? span : Span{0, 0};
}

YF_HOST_DEVICE inline bool is_upright(const Tile& tile) {
    const double *m = tile.matrix, *p = tile.picture.place;
    return m[1] == 0 && m[3] == 0 && m[6] == 0 && m[7] == 0 && m[8] == 1 && p[1] == 0 && p[3] == 0;
}

// What an upright tile owns, one span in one run of rows: what depends on the column is the same in every
// row, and the rest is the same in every column. Both spans are empty when it owns nothing.
inline Rectangle owned_rectangle(const Tile& tile, int height, int width) {
    const double *m = tile.matrix, *window = tile.window;
    Span columns{0, width}, rows{0, height};
    keep(columns, width, m[0], m[2] - window[0], [](double t) { return t >= 0; });
    keep(columns, width, m[0], m[2] - window[2], [](double t) { return t < 0; });
    const auto inside = [&](int y) {
        const double offset = m[4] * (y + 0.5) + m[5];
        return offset - window[1] >= 0 && offset - window[3] < 0;
    };
    while (rows.begin < rows.end && !inside(rows.begin)) ++rows.begin;
    while (rows.begin < rows.end && !inside(rows.end - 1)) --rows.end;
    const Rectangle own{columns, rows};
    return own.empty() ? Rectangle{} : own;
}

// What of row y's span lies in `region`.
YF_HOST_DEVICE inline Span clipped(Span span, int y, const Rectangle& region) {
    if (y < region.rows.begin || y >= region.rows.end) return {0, 0};
    const int begin = span.begin > region.columns.begin ? span.begin : region.columns.begin;
    const int end = span.end < region.columns.end ? span.end : region.columns.end;
    return begin < end ? Span{begin, end} : Span{0, 0};
}

// The spans of all rows.
inline void find_spans(const Tile& tile, int height, int width, Span* spans) {
    if (!is_upright(tile)) {
        for (int y = 0; y < height; ++y) spans[y] = owned(tile, y, width);
        return;
    }
    const Rectangle own = owned_rectangle(tile, height, width);
    for (int y = 0; y < height; ++y)
        spans[y] = own.rows.begin <= y && y < own.rows.end ? own.columns : Span{0, 0};
}

}  // namespace yf
