// What one thread of the renderer does for four neighbours of a row: find their tile, sample its planes, mix
// the colours. The fixed-point steps of csrc/core/render_rows.hpp in 32 bits, where none of them can overflow
// and no value has to be narrowed.
#pragma once

#include "pixels.hpp"
#include "render_tables.hpp"

namespace yf::cuda {

constexpr std::uint32_t kGray = kFill * 0x01010101u;

// --- fixed point

// `scale` of render_rows.hpp: round(a * b / 32768).
__device__ inline int scale_wide(int a, int b) { return (a * b + 16384) >> 15; }

// The blend of two levels, in 1/128 level.
__device__ inline int blend_levels(int from, int to, int weight) {
    return (from << 7) + (((to - from) * weight + 128) >> 8);
}

__device__ inline int blend_fixed(int from, int to, int weight) {
    return from + scale_wide(to - from, weight);
}

// One of R, G, B of a pixel.
__device__ inline std::uint32_t colour_level(const ColourRow& c, int y, int cb, int cr) {
    const int sum = scale_wide(y, c.y) + scale_wide(cb, c.cb) + scale_wide(cr, c.cr) + c.offset;
    return static_cast<std::uint32_t>(min(max(sum >> 4, 0), 255));
}

// Samples of four pixels, centred, in 1/128 level.
struct Samples {
    int y[kPixels], cb[kPixels], cr[kPixels];
};

// --- upright tiles; offsets within a plane are 32-bit, because none has 1 GiB

struct LumaRow {
    int row = -1;
    int y[kPixels];
};

// Two samples in one register.
__device__ inline std::uint32_t pack(int cb, int cr) {
    return (static_cast<std::uint32_t>(cb) & 0xFFFF) | static_cast<std::uint32_t>(cr) << 16;
}
__device__ inline int packed_cb(std::uint32_t both) { return static_cast<std::int16_t>(both); }
__device__ inline int packed_cr(std::uint32_t both) { return static_cast<std::int32_t>(both) >> 16; }

struct ChromaRow {
    int row = -1;
    std::uint32_t both[kPixels];
};

// Rows of an upright tile, resampled across: they serve the next row of the output too.
struct HeldRows {
    int tile = -1;
    Along columns[kPixels];
    LumaRow luma[2];
    ChromaRow chroma[2];
};

__device__ inline void load_columns(const Tables& tables, int tile, int slot, int x, HeldRows& held) {
    const Along* const from = tables.columns + static_cast<std::int64_t>(slot) * tables.width;
    for (int k = 0; k < kPixels; ++k) held.columns[k] = from[min(x + k, tables.width - 1)];
    held.tile = tile;
    for (int i = 0; i < 2; ++i) held.luma[i].row = held.chroma[i].row = -1;
}

__device__ inline void sample_luma(const TileEntry& tile, const HeldRows& held, int row, LumaRow& out) {
    const std::uint8_t* const from = tile.y + min(row, tile.height - 1) * tile.stride;
    const int next = tile.width > 1 ? 1 : 0;
    for (int k = 0; k < kPixels; ++k) {
        const std::uint8_t* const at = from + held.columns[k].luma;
        out.y[k] = blend_levels(__ldg(at), __ldg(at + next), held.columns[k].luma_weight()) - 16384;
    }
    out.row = row;
}

__device__ inline void sample_chroma(const TileEntry& tile, const HeldRows& held, int row, ChromaRow& out) {
    const int start = min(row, tile.chroma_height - 1) * tile.chroma_stride;
    const int next = tile.chroma_width > 1 ? 1 : 0;
    for (int k = 0; k < kPixels; ++k) {
        const std::uint8_t *const cb = tile.cb + start + held.columns[k].chroma, *const cr =
                                                                                     tile.cr + start +
                                                                                     held.columns[k].chroma;
        const int weight = held.columns[k].chroma_weight();
        out.both[k] = pack(blend_levels(__ldg(cb), __ldg(cb + next), weight) - 16384,
                           blend_levels(__ldg(cr), __ldg(cr + next), weight) - 16384);
    }
    out.row = row;
}

// Makes rows[0] row `first` and, where it counts, rows[1] the one below, of what is held as far as it goes:
// whichever way the rows of a tile run.
template <typename Row, typename Sample>
__device__ inline void hold_rows(Row (&rows)[2], int first, bool both, Sample sample) {
    if (rows[0].row != first) {
        const Row other = rows[0];
        rows[0] = rows[1];
        rows[1] = other;
        if (rows[0].row != first) sample(first, rows[0]);
    }
    if (both && rows[1].row != first + 1) sample(first + 1, rows[1]);
}

__device__ inline void sample_upright(const Tables& tables, const TileEntry& tile, int t, int x, int y,
                                      HeldRows& held, Samples& out) {
    if (held.tile != t) load_columns(tables, t, tile.slot, x, held);
    const Along row = tables.rows[static_cast<std::int64_t>(tile.slot) * tables.height + y];
    hold_rows(held.luma, row.luma, row.luma_weight() != 0,
              [&](int index, LumaRow& to) { sample_luma(tile, held, index, to); });
    for (int k = 0; k < kPixels; ++k) {
        out.y[k] = held.luma[0].y[k];
        if (row.luma_weight() != 0) out.y[k] = blend_fixed(out.y[k], held.luma[1].y[k], row.luma_weight());
        out.cb[k] = out.cr[k] = 0;
    }
    if (tile.cb == nullptr) return;
    hold_rows(held.chroma, row.chroma, row.chroma_weight() != 0,
              [&](int index, ChromaRow& to) { sample_chroma(tile, held, index, to); });
    for (int k = 0; k < kPixels; ++k) {
        const std::uint32_t upper = held.chroma[0].both[k], lower = held.chroma[1].both[k];
        out.cb[k] = packed_cb(upper);
        out.cr[k] = packed_cr(upper);
        if (row.chroma_weight() == 0) continue;
        out.cb[k] = blend_fixed(out.cb[k], packed_cb(lower), row.chroma_weight());
        out.cr[k] = blend_fixed(out.cr[k], packed_cr(lower), row.chroma_weight());
    }
}

// --- tiles of any kind

struct Place {
    int first;
    std::int16_t weight;
};

// Pixel i of a chunk along an axis of `size` samples, two at least.
__device__ inline Place place_at(const AxisLine& line, int base, float i, float inverse_depth, int size) {
    Place place;
    place.first = base + split((line.start + i * line.step) * inverse_depth,
                               static_cast<float>(size - 1 - base), size - 2 - base, &place.weight);
    return place;
}

// Four neighbours of a plane: where they are and how they blend.
struct Quad {
    int upper, lower;  // the left ones, from the plane's start on
    int next;
    int across, down;

    __device__ int blend(const std::uint8_t* plane) const {
        const int top = blend_levels(__ldg(plane + upper), __ldg(plane + upper + next), across);
        const int bottom = blend_levels(__ldg(plane + lower), __ldg(plane + lower + next), across);
        return blend_fixed(top, bottom, down) - 16384;
    }
};

__device__ inline Quad quad_at(const Place& column, const Place& row, int stride, int width, int height) {
    const int upper = min(row.first, height - 1), lower = min(row.first + 1, height - 1);
    return {upper * stride + column.first, lower * stride + column.first, width > 1 ? 1 : 0, column.weight,
            row.weight};
}

__device__ inline void sample_general(const Tables& tables, const TileEntry& tile, int2 span, int x, int y,
                                      Samples& out) {
    const ChunkEntry* const chunks =
        tables.chunks + (static_cast<std::int64_t>(tile.slot) * tables.height + y) * tables.chunks_of_row;
    // All pixels are sampled, those outside of the span like its ends.
    const auto from_begin = [&](int k) { return min(max(x + k, span.x), span.y - 1) - span.x; };
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
        const Quad luma = quad_at(place_at(chunk.column, chunk.column_base, at, inverse, max(tile.width, 2)),
                                  place_at(chunk.row, chunk.row_base, at, inverse, max(tile.height, 2)),
                                  tile.stride, tile.width, tile.height);
        out.y[k] = luma.blend(tile.y);
        out.cb[k] = out.cr[k] = 0;
        if (tile.cb == nullptr) continue;
        Place row = place_at(chunk.chroma_row, chunk.chroma_row_base, at, inverse, tile.rows);
        row.first += tile.first_row;
        const Quad chroma = quad_at(
            place_at(chunk.chroma_column, chunk.chroma_column_base, at, inverse, max(tile.chroma_width, 2)),
            row, tile.chroma_stride, tile.chroma_width, tile.chroma_height);
        out.cb[k] = chroma.blend(tile.cb);
        out.cr[k] = chroma.blend(tile.cr);
    }
}

// --- all

// Pixels x .. x + 3 of row y: the last of tiles [begin, end) that owns each of them, or gray.
__device__ inline void draw_layer(const Tables& tables, int begin, int end, const Colours& colours, int x,
                                  int y, HeldRows& held, std::uint32_t (&levels)[kPlanes]) {
    for (int c = 0; c < kPlanes; ++c) levels[c] = kGray;
    unsigned left = (1u << kPixels) - 1;
    for (int t = end - 1; t >= begin && left != 0; --t) {
        const int2 span = tables.spans[static_cast<std::int64_t>(t) * tables.height + y];
        const int from = max(span.x - x, 0), to = min(span.y - x, kPixels);
        if (from >= to) continue;
        const unsigned hit = ((1u << to) - (1u << from)) & left;
        if (hit == 0) continue;
        left &= ~hit;
        const TileEntry& tile = tables.entries[t];
        Samples samples;
        if (tile.upright != 0) {
            sample_upright(tables, tile, t, x, y, held, samples);
        } else {
            sample_general(tables, tile, span, x, y, samples);
        }
        const std::uint32_t mask = bytes_of_bits(hit);
        for (int c = 0; c < kPlanes; ++c) {
            std::uint32_t drawn = 0;
            for (int k = 0; k < kPixels; ++k)
                drawn |= colour_level(colours.rows[c], samples.y[k], samples.cb[k], samples.cr[k]) << 8 * k;
            levels[c] = (levels[c] & ~mask) | (drawn & mask);
        }
    }
}

}  // namespace yf::cuda
