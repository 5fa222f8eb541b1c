// The pixels of one thread of the renderer: which of them a tile owns, and how they are written.
#pragma once

#include "cuda/pixels.hpp"
#include "cuda/render_tables.hpp"

namespace yf::cuda {

constexpr int kRows = 8;  // of a strip, kPixels columns each: a bit of a word per pixel, row by row
static_assert(kRows * kPixels == 32);

__device__ inline unsigned row_of(unsigned pixels, int row) { return pixels >> kPixels * row & kWholeRun; }

// Pixels x .. x + 3 that lie in columns [begin, end).
__device__ inline unsigned columns_in(int x, int begin, int end) {
    const int from = min(max(begin - x, 0), kPixels), to = min(max(end - x, from), kPixels);
    return (1u << to) - (1u << from);
}

// One or two layers of pixels, on their way to `out`.
template <typename T>
struct Strip {
    int x, top;           // its first pixel
    unsigned inside;      // pixels of the image
    int width;            // of the image
    std::int64_t plane;   // pixels of the image
    bool wide;            // whole runs are aligned
    T* at;                // where the first pixel goes, in the first plane
    std::int32_t weight;  // of what is there by now, in 1/32768

    __device__ unsigned within(const Rectangle& own) const {
        const int from = min(max(own.rows.begin - top, 0), kRows),
                  to = min(max(own.rows.end - top, from), kRows);
        const auto rows = static_cast<unsigned>((1ull << kPixels * to) - (1ull << kPixels * from));
        return columns_in(x, own.columns.begin, own.columns.end) * 0x11111111u & rows & inside;
    }

    // Row `row` of the strip, of which `pixels` are drawn.
    __device__ void put(int row, unsigned pixels, const std::uint32_t (&levels)[kPlanes]) const {
        T* to = at + static_cast<std::int64_t>(row) * width;
        for (int c = 0; c < kPlanes; ++c, to += plane) {
            const bool mixed = weight != 0;
            const std::uint32_t drawn =
                mixed ? mix_levels(read_levels(to, pixels), levels[c], weight) : levels[c];
            write_levels(to, drawn, pixels, wide);
        }
    }
};

}  // namespace yf::cuda
