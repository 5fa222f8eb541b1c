// What one thread of the renderer does for its strip: tile by tile, and row by row of what a tile owns of it,
// sample the tile's planes and mix the colours. The fixed-point steps of core/render/rows.hpp in 32
// bits, where none of them can overflow and no value has to be narrowed.
#pragma once

#include "cuda/pixels.hpp"
#include "cuda/render_strip.hpp"
#include "cuda/render_tables.hpp"

namespace yf::cuda {

constexpr std::uint32_t kGray = kFill * 0x01010101u;

// --- fixed point

// `scale` of core/render/rows.hpp: round(a * b / 32768).
__device__ inline int scale_wide(int a, int b) { return (a * b + 16384) >> 15; }

// The blend of two levels, the two lower bytes of `levels`, centred, in 1/128 level:
// first * 128 + round((second - first) * weight / 256) - 16384.
__device__ inline int blend_levels(std::uint32_t levels, std::uint32_t weights) {
    return static_cast<int>(__dp2a_lo(weights, levels, 128u - (16384u << 8))) >> 8;
}

// Two neighbouring levels of a plane, `next` bytes apart, as `blend_levels` takes them.
__device__ inline std::uint32_t two_levels(const std::uint8_t* left, int next) {
    return __ldg(left) + (static_cast<std::uint32_t>(__ldg(left + next)) << 8);
}

__device__ inline int blend_fixed(int from, int to, int weight) {
    return from + scale_wide(to - from, weight);
}

// Samples of four pixels, centred, in 1/128 level.
struct Samples {
    int y[kPixels], cb[kPixels], cr[kPixels];
};

// One of R, G, B of the four, a byte each.
__device__ inline std::uint32_t colour_levels(const ColourRow& c, const Samples& samples) {
    std::uint32_t sixteenths[kPixels];  // of a level
    for (int k = 0; k < kPixels; ++k) {
        const int sum = c.offset + scale_wide(samples.y[k], c.y) + scale_wide(samples.cb[k], c.cb) +
                        scale_wide(samples.cr[k], c.cr);
        sixteenths[k] = static_cast<std::uint32_t>(__vimin_s32_relu(sum, 255 * 16 + 15));
    }
    const std::uint32_t low = (sixteenths[0] + (sixteenths[1] << 16)) << 4;
    const std::uint32_t high = (sixteenths[2] + (sixteenths[3] << 16)) << 4;
    return __byte_perm(low, high, 0x7531);
}

template <typename T>
__device__ inline void put_colours(const Samples& samples, const Colours& colours, int row, unsigned pixels,
                                   const Strip<T>& strip) {
    std::uint32_t levels[kPlanes];
    for (int c = 0; c < kPlanes; ++c) levels[c] = colour_levels(colours.rows[c], samples);
    strip.put(row, pixels, levels);
}

// --- upright tiles; offsets within a plane are 32-bit, because none has 1 GiB

constexpr int kNear = 8;  // bytes that two words hold wherever they begin

// The two neighbours of each of four columns, in every row of a plane.
struct Columns {
    int first, bytes;  // that are needed of a row
    int next;          // from one neighbour to the other
    // Where from `first` on the neighbours are; as a selector of __byte_perm, where there are kNear bytes at
    // most.
    std::uint32_t at[kPixels];
    std::uint32_t weights[kPixels];
};

__device__ inline void find_columns(const int (&firsts)[kPixels], int width, Columns& out) {
    out.first = min(min(firsts[0], firsts[1]), min(firsts[2], firsts[3]));
    out.next = width > 1 ? 1 : 0;
    out.bytes = max(max(firsts[0], firsts[1]), max(firsts[2], firsts[3])) + out.next + 1 - out.first;
    for (int k = 0; k < kPixels; ++k) {
        const auto at = static_cast<std::uint32_t>(firsts[k] - out.first);
        out.at[k] = out.bytes <= kNear ? at | (at + out.next) << 4 : at;
    }
}

// Four samples of a row of a plane.
__device__ inline void sample_row(const std::uint8_t* row, const Columns& columns, int (&out)[kPixels]) {
    const std::uint8_t* const from = row + static_cast<std::uint32_t>(columns.first);
    if (columns.bytes <= kNear) {
        const auto skipped = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(from) % 4);
        const auto* const words = reinterpret_cast<const std::uint32_t*>(from - skipped);
        // No word is read that holds none of the bytes that are needed: the others lie in the same
        // allocation.
        const unsigned last = (skipped + columns.bytes - 1) / 4;
        const std::uint32_t middle = __ldg(words + min(last, 1u));
        const std::uint32_t low = __funnelshift_r(__ldg(words), middle, 8 * skipped),
                            high = __funnelshift_r(middle, __ldg(words + last), 8 * skipped);
        for (int k = 0; k < kPixels; ++k)
            out[k] = blend_levels(__byte_perm(low, high, columns.at[k]), columns.weights[k]);
        return;
    }
    for (int k = 0; k < kPixels; ++k)
        out[k] = blend_levels(two_levels(from + columns.at[k], columns.next), columns.weights[k]);
}

// Two neighbouring rows of a plane, resampled across: they may serve the next row of the output too.
struct TwoRows {
    int upper[kPixels], lower[kPixels];

    // Makes them rows `first` and `first + 1`, when they were `held` and `held + 1`.
    __device__ void move_to(int first, int held, const std::uint8_t* plane, int stride, int height,
                            const Columns& columns) {
        if (first == held + 1) {
            for (int k = 0; k < kPixels; ++k) upper[k] = lower[k];
        } else {
            sample_row(plane + min(first, height - 1) * stride, columns, upper);
        }
        sample_row(plane + min(first + 1, height - 1) * stride, columns, lower);
    }
    __device__ void blend(int weight, int (&out)[kPixels]) const {
        for (int k = 0; k < kPixels; ++k) out[k] = blend_fixed(upper[k], lower[k], weight);
    }
};

// Draws `pixels` of a strip.
template <typename T>
__device__ inline void draw_upright(const Tables& tables, const TileEntry& tile, unsigned pixels,
                                    const Colours& colours, const Strip<T>& strip) {
    const auto slot = static_cast<std::uint32_t>(tile.slot);
    const Along* const from = tables.columns + slot * tables.width;
    int firsts[2][kPixels];
    Columns luma_columns, chroma_columns;
    for (int k = 0; k < kPixels; ++k) {
        const Along along = from[min(strip.x + k, tables.width - 1)];
        firsts[0][k] = along.luma;
        firsts[1][k] = along.chroma;
        luma_columns.weights[k] = along.luma_weights;
        chroma_columns.weights[k] = along.chroma_weights;
    }
    find_columns(firsts[0], tile.width, luma_columns);
    find_columns(firsts[1], tile.chroma_width, chroma_columns);
    const Along* const rows = tables.rows + (slot * tables.height + strip.top);
    int luma_row = -2, chroma_row = -2;  // no row, and none before one
    TwoRows luma{}, cb{}, cr{};
#pragma unroll 1
    for (int i = 0; i < kRows; ++i) {
        const unsigned hit = row_of(pixels, i);
        if (hit == 0) continue;
        const Along row = rows[i];
        Samples samples{};
        if (row.luma != luma_row) {
            luma.move_to(row.luma, luma_row, tile.y, tile.stride, tile.height, luma_columns);
            luma_row = row.luma;
        }
        luma.blend(second_weight(row.luma_weights), samples.y);
        if (tile.cb != nullptr) {
            if (row.chroma != chroma_row) {
                cb.move_to(row.chroma, chroma_row, tile.cb, tile.chroma_stride, tile.chroma_height,
                           chroma_columns);
                cr.move_to(row.chroma, chroma_row, tile.cr, tile.chroma_stride, tile.chroma_height,
                           chroma_columns);
                chroma_row = row.chroma;
            }
            cb.blend(second_weight(row.chroma_weights), samples.cb);
            cr.blend(second_weight(row.chroma_weights), samples.cr);
        }
        put_colours(samples, colours, i, hit, strip);
    }
}

// --- tiles of any kind

struct Position {
    int first;
    std::int16_t weight;
};

// Pixel i of a chunk along an axis of `size` samples, two at least.
__device__ inline Position position_at(const AxisLine& line, int base, float i, float inverse_depth,
                                       int size) {
    Position position;
    position.first = base + split((line.start + i * line.step) * inverse_depth,
                                  static_cast<float>(size - 1 - base), size - 2 - base, &position.weight);
    return position;
}

// Four neighbours of a plane: where they are and how they blend.
struct Quad {
    int upper, lower;  // the left ones, from the plane's start on
    int next;
    std::uint32_t across;  // both weights
    int down;

    __device__ int blend(const std::uint8_t* plane) const {
        const int top = blend_levels(two_levels(plane + upper, next), across);
        const int bottom = blend_levels(two_levels(plane + lower, next), across);
        return blend_fixed(top, bottom, down);
    }
};

__device__ inline Quad quad_at(const Position& column, const Position& row, int stride, int width,
                               int height) {
    const int upper = min(row.first, height - 1), lower = min(row.first + 1, height - 1);
    return {upper * stride + column.first, lower * stride + column.first, width > 1 ? 1 : 0,
            both_weights(static_cast<std::uint32_t>(column.weight)), row.weight};
}

// Pixels x .. x + 3 of row y, of which the tile owns `span`.
__device__ inline void sample_general(const ChunkEntry* chunks, const TileEntry& tile, Span span, int x,
                                      Samples& out) {
    // All pixels are sampled, those outside of the span like its ends.
    const auto from_begin = [&](int k) { return min(max(x + k, span.begin), span.end - 1) - span.begin; };
    int current = from_begin(0) / kChunk;
    ChunkEntry chunk = chunks[current];
    for (int k = 0; k < kPixels; ++k) {
        if (const int index = from_begin(k) / kChunk; index != current) {
            chunk = chunks[index];
            current = index;
        }
        const int i = from_begin(k) % kChunk;
        const auto at = static_cast<float>(i);
        const float inverse = chunk.depth_step == 0.0f ? 1.0f : inverse_depth_at(i, chunk.depth_step);
        const Quad luma =
            quad_at(position_at(chunk.column, chunk.column_base, at, inverse, max(tile.width, 2)),
                    position_at(chunk.row, chunk.row_base, at, inverse, max(tile.height, 2)), tile.stride,
                    tile.width, tile.height);
        out.y[k] = luma.blend(tile.y);
        out.cb[k] = out.cr[k] = 0;
        if (tile.cb == nullptr) continue;
        Position row = position_at(chunk.chroma_row, chunk.chroma_row_base, at, inverse, tile.rows);
        row.first += tile.first_row;
        const Quad chroma = quad_at(position_at(chunk.chroma_column, chunk.chroma_column_base, at, inverse,
                                                max(tile.chroma_width, 2)),
                                    row, tile.chroma_stride, tile.chroma_width, tile.chroma_height);
        out.cb[k] = chroma.blend(tile.cb);
        out.cr[k] = chroma.blend(tile.cr);
    }
}

template <typename T>
__device__ inline void draw_general(const Tables& tables, const TileEntry& tile, unsigned pixels,
                                    const Colours& colours, const Strip<T>& strip) {
    const std::uint32_t first = static_cast<std::uint32_t>(tile.slot) * tables.height + strip.top;
#pragma unroll 1
    for (int i = 0; i < kRows; ++i) {
        const unsigned hit = row_of(pixels, i);
        if (hit == 0) continue;
        Samples samples;
        sample_general(tables.chunks + (first + i) * tables.chunks_of_row, tile, tables.spans[first + i],
                       strip.x, samples);
        put_colours(samples, colours, i, hit, strip);
    }
}

// --- all

// The pixels of a strip that a tile owns.
template <typename T>
__device__ inline unsigned owned_by(const Tables& tables, const TileEntry& tile, const Strip<T>& strip) {
    if (tile.upright != 0) return strip.within(tile.own);
    const Span* const spans =
        tables.spans + (static_cast<std::uint32_t>(tile.slot) * tables.height + strip.top);
    unsigned pixels = 0;
    for (int i = 0; i < kRows; ++i)
        if (row_of(strip.inside, i) != 0)
            pixels |= columns_in(strip.x, spans[i].begin, spans[i].end) << kPixels * i;
    return pixels & strip.inside;
}

// One layer of a strip: each pixel of the last of tiles [begin, end) that owns it, or gray.
template <typename T>
__device__ inline void draw_layer(const Tables& tables, int begin, int end, const Colours& colours,
                                  const Strip<T>& strip) {
    unsigned left = strip.inside;
    for (int t = end - 1; t >= begin && left != 0; --t) {
        const TileEntry tile = tables.entries[t];
        const unsigned pixels = owned_by(tables, tile, strip) & left;
        if (pixels == 0) continue;
        left &= ~pixels;
        if (tile.upright != 0) {
            draw_upright(tables, tile, pixels, colours, strip);
        } else {
            draw_general(tables, tile, pixels, colours, strip);
        }
    }
    const std::uint32_t gray[kPlanes] = {kGray, kGray, kGray};
#pragma unroll 1
    for (int i = 0; left != 0 && i < kRows; ++i)
        if (const unsigned pixels = row_of(left, i); pixels != 0) strip.put(i, pixels, gray);
}

}  // namespace yf::cuda
