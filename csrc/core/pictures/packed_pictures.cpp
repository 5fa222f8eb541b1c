// See packed_pictures.hpp.
#include "core/pictures/packed_pictures.hpp"

#include <cstring>

namespace yf {
namespace {

std::int64_t aligned_row(int width, std::size_t align) {
    return static_cast<std::int64_t>((static_cast<std::size_t>(width) + align - 1) / align * align);
}

void copy_plane(const PlaneView& plane, std::uint8_t* to, std::int64_t stride) {
    const auto width = static_cast<std::size_t>(plane.width);
    if (plane.stride == plane.width && stride == plane.width) {
        std::memcpy(to, plane.data, width * static_cast<std::size_t>(plane.height));
        return;
    }
    for (int y = 0; y < plane.height; ++y) std::memcpy(to + y * stride, plane.data + y * plane.stride, width);
}

}  // namespace

PlaneSides sides_of(const PictureView& picture) {
    const bool chroma = picture.cb.data != nullptr;
    return {picture.y.height, picture.y.width, chroma ? picture.cb.height : 0, chroma ? picture.cb.width : 0,
            picture.factor_x, picture.factor_y};
}

std::size_t lay_out_picture(const PlaneSides& sides, std::size_t row_align, std::int64_t* row) {
    row[kStrideY] = aligned_row(sides.width, row_align);
    row[kStrideC] = aligned_row(sides.c_width, row_align);
    row[kHeight] = sides.height;
    row[kWidth] = sides.width;
    row[kHeightC] = sides.c_height;
    row[kWidthC] = sides.c_width;
    row[kFactorX] = sides.factor_x;
    row[kFactorY] = sides.factor_y;
    row[kOffsetY] = 0;
    row[kOffsetCb] = row[kOffsetCr] = -1;
    std::size_t used = aligned_plane(static_cast<std::size_t>(row[kStrideY] * row[kHeight]));
    if (sides.c_height == 0) return used;
    for (const int offset : {kOffsetCb, kOffsetCr}) {
        row[offset] = static_cast<std::int64_t>(used);
        used += aligned_plane(static_cast<std::size_t>(row[kStrideC] * row[kHeightC]));
    }
    return used;
}

void move_picture(std::int64_t* row, std::size_t begin) {
    for (const int offset : {kOffsetY, kOffsetCb, kOffsetCr})
        if (row[offset] >= 0) row[offset] += static_cast<std::int64_t>(begin);
}

void copy_picture(const PictureView& picture, const std::int64_t* row, std::uint8_t* memory) {
    copy_plane(picture.y, memory + row[kOffsetY], row[kStrideY]);
    if (row[kOffsetCb] < 0) return;
    copy_plane(picture.cb, memory + row[kOffsetCb], row[kStrideC]);
    copy_plane(picture.cr, memory + row[kOffsetCr], row[kStrideC]);
}

}  // namespace yf
