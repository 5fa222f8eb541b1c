// What the two launches of the renderer share: the table from the host, and what the first leaves for the
// second. See render.hpp.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "core/render/colours.hpp"
#include "core/render/points.hpp"

namespace yf::cuda {

// Tiles [tiles[i], tiles[i + 1]) are layer i.
struct SampleEntry {
    int tiles[4];
    std::int32_t weight;  // of layer 0, in 1/32768
    Colours colours;
    Rectangle hole;
};

struct TileEntry {
    const std::uint8_t *y, *cb, *cr;  // cb and cr are null in a gray picture
    int stride, width, height;
    int chroma_stride, chroma_width, chroma_height;
    int first_row, rows;  // of chroma that the tile can touch, when it is not upright
    int slot;             // among the upright tiles, or among the others
    int upright;
    Rectangle own;  // what an upright tile owns; what any other may own
};

// The weights of two neighbours, in 1/32768: the second's in the upper half.
YF_HOST_DEVICE inline std::uint32_t both_weights(std::uint32_t second) {
    return second << 16 | (32768 - second);
}
YF_HOST_DEVICE inline int second_weight(std::uint32_t weights) { return static_cast<int>(weights >> 16); }

// A column or a row of an upright tile: the first of two neighbours and their weights.
struct alignas(16) Along {
    std::int32_t luma, chroma;
    std::uint32_t luma_weights, chroma_weights;
};

struct AxisLine {
    float start, step;
};

// A chunk of a row of any other tile: the lines of core/render/points.hpp.
struct alignas(16) ChunkEntry {
    AxisLine column, row;
    AxisLine chroma_column, chroma_row;
    std::int32_t column_base, row_base, chroma_column_base, chroma_row_base;
    float depth_step;
};

// Elements of a table are counted in 32 bits.
constexpr std::size_t kMaxElements = 0x7FFFFFFF;

struct Tables {
    const SampleEntry* samples;
    const TileEntry* entries;
    const Tile* tiles;
    Along* columns;      // [upright tiles, width]
    Along* rows;         // [upright tiles, height]
    Span* spans;         // [other tiles, height]: the pixels that a tile owns
    ChunkEntry* chunks;  // [other tiles, height, chunks of a row]
    int height, width, chunks_of_row;
};

}  // namespace yf::cuda
