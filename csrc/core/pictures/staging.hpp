// Pictures packed into one piece of memory, which goes to a device in one copy: the planes one after the
// other, and a row of numbers that says where they are.
#pragma once

#include <cstdint>

#include "core/render/render.hpp"

namespace yf {

constexpr std::size_t kStagingAlign = 64;  // each plane begins at a multiple of it

// Columns of a picture's row. A gray picture has -1 for both chroma offsets.
enum StagedColumn : int {
    kOffsetY = 0,
    kOffsetCb,
    kOffsetCr,
    kStrideY,
    kStrideC,
    kHeight,
    kWidth,
    kHeightC,
    kWidthC,
    kFactorX,
    kFactorY,
    kStagedColumns
};

// Memory that pictures are packed into, and a row of each array a picture. All is the caller's; `used` is
// guarded by the engine's lock. A row whose offset of y is negative is of a picture that is not there.
struct Staging {
    std::uint8_t* memory;
    std::size_t capacity;
    std::int64_t* rows;   // [count, kStagedColumns]
    double* places;       // [count, 6]
    std::int64_t* sizes;  // [count] bytes that the picture takes, also where they did not fit
    std::size_t used = 0;
};

// Bytes that the planes of a picture take: a multiple of kStagingAlign.
std::size_t packed_size(const PictureView& picture);

// Copies the planes, rows packed, to `memory + at` and following; says in `row` and `place` where they are.
void pack_picture(const PictureView& picture, std::uint8_t* memory, std::size_t at, std::int64_t* row,
                  double* place);

}  // namespace yf
