// Pictures packed into one piece of memory: the planes one after the other, and for each picture a row of
// numbers that says where they are. The engine packs them for a device, nvJPEG decodes to them, and
// torch.ops.yolofast.render_ reads them; yolofast/kernels/packed_pictures.py is the same in Python.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/render/render.hpp"

namespace yf {

constexpr std::size_t kPlaneAlign = 64;  // each plane begins at a multiple of it
constexpr int kPlaceValues = 6;          // of PictureView::place

// Columns of a picture's row, in bytes and pixels. A gray picture has -1 for both chroma offsets and 0 for
// the other columns of chroma; where there is no picture, the offset of y is -1.
enum PictureColumn : int {
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
    kPictureColumns
};

constexpr std::size_t aligned_plane(std::size_t bytes) {
    return (bytes + kPlaneAlign - 1) / kPlaneAlign * kPlaneAlign;
}

// The sides of a picture's planes; those of chroma are 0 when it is gray.
struct PlaneSides {
    int height, width, c_height, c_width, factor_x, factor_y;
};

PlaneSides sides_of(const PictureView& picture);

// Lays out planes from offset 0 on, each row at a multiple of `row_align` bytes; writes their row, and
// returns how many bytes they take: a multiple of kPlaneAlign.
std::size_t lay_out_picture(const PlaneSides& sides, std::size_t row_align, std::int64_t* row);

// Adds `begin` to the offsets of the planes that are there.
void move_picture(std::int64_t* row, std::size_t begin);

// Copies the planes to where `row` says in `memory`.
void copy_picture(const PictureView& picture, const std::int64_t* row, std::uint8_t* memory);

}  // namespace yf
